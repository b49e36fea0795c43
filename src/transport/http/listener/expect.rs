//! Answers `Expect: 100-continue` with 100 when a handler begins to read the body, and not before (RFC 9110, section 10.1.1): a
//! request that is refused by its head is refused at once, and its body is not asked for.
//!
//! actix-http asks a service of its own before it calls the handler. Here that service calls the handler already. The handler
//! goes on until it has an answer or reads the body; one that reads goes on where actix-http would call it.

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

/// A worker's handler, once it is made.
pub(super) type Made<S> = Rc<RefCell<Option<Rc<S>>>>;

/// The handler as actix-http calls it.
pub(super) fn calling<F>(
    handlers: F,
    made: Made<F::Service>,
) -> impl ServiceFactory<Request, Config = (), Response = F::Response, Error = F::Error, InitError = F::InitError>
where
    F: ServiceFactory<Request, Config = ()> + 'static,
    F::Response: 'static,
    F::Error: 'static,
{
    fn_factory(move || {
        let (making, made) = (handlers.new_service(()), Rc::clone(&made));
        async move {
            let handler = Rc::new(making.await?);
            *made.borrow_mut() = Some(Rc::clone(&handler));
            Ok::<_, F::InitError>(Handler(handler))
        }
    })
}

/// The service that actix-http asks before it answers 100.
pub(super) fn asking<S, B>(
    made: Made<S>,
) -> impl ServiceFactory<Request, Config = (), Response = Request, Error = Response<BoxBody>, InitError = ()>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    B: MessageBody + 'static,
{
    fn_service(move |request| {
        // A worker makes its services before it takes connections.
        let handler = made.borrow().clone().expect("the handler is made before it is called; this is a bug");
        ask(handler, request)
    })
}

/// Calls a handler, or goes on with one that was called.
struct Handler<S>(Rc<S>);

/// A handler that was called and reads the body now.
struct Begun<R, E>(LocalBoxFuture<'static, Result<R, E>>);

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
            Some(Begun(answering)) => Either::Right(answering),
            None => Either::Left(self.0.call(request)),
        }
    }
}

/// Calls the handler. Gives a request that leads to it if it reads the body, and else its answer.
async fn ask<S, B>(handler: Rc<S>, mut request: Request) -> Result<Request, Response<BoxBody>>
where
    S: Service<Request> + 'static,
    S::Response: Into<Response<B>> + 'static,
    S::Error: Into<Response<BoxBody>> + 'static,
    B: MessageBody + 'static,
{
    let gate = Rc::new(RefCell::new(Gate::Shut));
    let payload = request.take_payload();
    let has_body = !matches!(payload, Payload::None);
    if has_body {
        *request.payload() = Payload::Stream { payload: Box::pin(Body { payload, gate: Rc::clone(&gate) }) };
    }
    let mut answering: LocalBoxFuture<'static, _> = Box::pin(async move { handler.call(request).await });
    let answer = poll_fn(|cx| match answering.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => match &*gate.borrow() {
            Gate::Asked(_) => Poll::Ready(None),
            Gate::Shut | Gate::Open => Poll::Pending,
        },
    });
    let mut refusal: Response<BoxBody> = match answer.await {
        Some(Ok(answer)) => answer.into().map_into_boxed_body(),
        Some(Err(error)) => error.into(),
        None => {
            if let Gate::Asked(reader) = gate.replace(Gate::Open) {
                reader.wake();
            }
            let request = Request::new();
            request.extensions_mut().insert(Begun(answering));
            return Ok(request);
        }
    };
    if has_body {
        // The client may send the body all the same, or not.
        refusal.head_mut().set_connection_type(ConnectionType::Close);
    }
    Err(refusal)
}

/// Whether a body may be read.
enum Gate {
    /// Nobody has tried.
    Shut,
    /// A handler waits for it.
    Asked(Waker),
    /// The client is told to send it.
    Open,
}

/// A body that is read when its gate is open.
struct Body {
    payload: Payload,
    gate: Rc<RefCell<Gate>>,
}

impl Stream for Body {
    type Item = Result<Bytes, PayloadError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let is_open = matches!(&*self.gate.borrow(), Gate::Open);
        if is_open {
            return Pin::new(&mut self.payload).poll_next(cx);
        }
        self.gate.replace(Gate::Asked(cx.waker().clone()));
        Poll::Pending
    }
}
