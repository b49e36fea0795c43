//! Answers `Expect: 100-continue` with 100 when a handler begins to read the body, and not before (RFC 9110, section 10.1.1). A
//! request that is refused because of its head is refused at once, and the client need not send the body.
//!
//! actix-http calls an expect service before it calls the handler. This expect service calls the handler itself. The handler runs
//! until it has an answer or reads the body. If it reads the body, it goes on when actix-http calls it.

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use actix_http::error::PayloadError;
use actix_http::{ConnectionType, HttpMessage, Payload, Request, Response};
use actix_service::{fn_factory, fn_service, Service, ServiceFactory};
use actix_web::body::{BoxBody, MessageBody};
use bytes::Bytes;
use futures::future::{Either, LocalBoxFuture};
use futures::Stream;

/// The handler of a worker. It is set when the worker has made its services.
pub(super) type SharedHandler<S> = Rc<RefCell<Option<Rc<S>>>>;

/// Makes the handler that actix-http calls.
pub(super) fn handler_service<F>(
    handlers: F,
    shared: SharedHandler<F::Service>,
) -> impl ServiceFactory<Request, Config = (), Response = F::Response, Error = F::Error, InitError = F::InitError>
where
    F: ServiceFactory<Request, Config = ()> + 'static,
    F::Response: 'static,
    F::Error: 'static,
{
    fn_factory(move || {
        let (making, shared) = (handlers.new_service(()), Rc::clone(&shared));
        async move {
            let handler = Rc::new(making.await?);
            *shared.borrow_mut() = Some(Rc::clone(&handler));
            Ok::<_, F::InitError>(Handler(handler))
        }
    })
}

/// Makes the expect service that actix-http calls before it answers 100.
pub(super) fn expect_service<S, B>(
    shared: SharedHandler<S>,
) -> impl ServiceFactory<Request, Config = (), Response = Request, Error = Response<BoxBody>, InitError = ()>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    B: MessageBody + 'static,
{
    fn_service(move |request| {
        // A worker makes its services before it accepts connections.
        let handler = shared.borrow().clone().expect("the handler is made before it is called; this is a bug");
        call_early(handler, request)
    })
}

/// Calls the handler, or goes on with one that the expect service has called.
struct Handler<S>(Rc<S>);

/// A called handler that waits for the body.
struct Called<R, E>(LocalBoxFuture<'static, Result<R, E>>);

impl<S> Service<Request> for Handler<S>
where
    S: Service<Request>,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, LocalBoxFuture<'static, Result<S::Response, S::Error>>>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&self, request: Request) -> Self::Future {
        let begun = request.extensions_mut().remove();
        match begun {
            Some(Called(answering)) => Either::Right(answering),
            None => Either::Left(self.0.call(request)),
        }
    }
}

/// Calls the handler. If the handler reads the body, this returns a request that leads to the called handler; else it returns the
/// answer.
async fn call_early<S, B>(handler: Rc<S>, mut request: Request) -> Result<Request, Response<BoxBody>>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    B: MessageBody + 'static,
{
    let access = Rc::new(RefCell::new(BodyAccess::NotRequested));
    let payload = request.take_payload();
    let has_body = !matches!(payload, Payload::None);
    if has_body {
        *request.payload() = Payload::Stream { payload: Box::pin(Body { payload, access: Rc::clone(&access) }) };
    }
    let mut answering: LocalBoxFuture<'static, _> = Box::pin(async move { handler.call(request).await });
    let answer = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => match &*access.borrow() {
            BodyAccess::Requested(_) => Poll::Ready(None),
            BodyAccess::NotRequested | BodyAccess::Allowed => Poll::Pending,
        },
    });
    let mut refusal: Response<BoxBody> = match answer.await {
        Some(Ok(answer)) => answer.into().map_into_boxed_body(),
        Some(Err(error)) => error.into(),
        None => {
            if let BodyAccess::Requested(reader) = access.replace(BodyAccess::Allowed) {
                reader.wake();
            }
            let request = Request::new();
            request.extensions_mut().insert(Called(answering));
            return Ok(request);
        }
    };
    if has_body {
        // The client may or may not send the body after this answer, so the connection must close.
        refusal.head_mut().set_connection_type(ConnectionType::Close);
    }
    Err(refusal)
}

/// Whether a handler may read the body.
enum BodyAccess {
    /// No handler has tried to read it.
    NotRequested,
    /// A handler waits for it.
    Requested(Waker),
    /// The client has been asked to send it.
    Allowed,
}

/// A body that waits until the client is asked to send it.
struct Body {
    payload: Payload,
    access: Rc<RefCell<BodyAccess>>,
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let is_allowed = matches!(&*self.access.borrow(), BodyAccess::Allowed);
        if is_allowed {
            return Pin::new(&mut self.payload).poll_next(cx);
        }
        self.access.replace(BodyAccess::Requested(cx.waker().clone()));
        Poll::Pending
    }
}
