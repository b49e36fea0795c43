//! Adds routes to a listener. Each route answers OPTIONS, refuses methods that it does not have, and adds the common headers to
//! its answers.

use std::rc::Rc;
use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{HttpServiceFactory, RequestHead, ServiceRequest, ServiceResponse};
use actix_web::http::header::{HeaderValue, ALLOW};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::{from_fn, Next};
use actix_web::web::ServiceConfig;
use actix_web::{guard, web, HttpRequest, HttpResponse, Resource};
use tfweb_engine::{Code, Error};

use super::answers::Answers;
use super::call::HttpCall;

/// The methods of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    /// GET.
    Read,
    /// GET and POST.
    Post,
    /// GET, POST and DELETE.
    PostDelete,
    /// All methods. The handler answers each of them itself, and also refuses some.
    All,
}

impl Methods {
    /// The value of the header `Allow`.
    const fn allow(self) -> &'static str {
        match self {
            Self::Read => "GET, HEAD, OPTIONS",
            Self::Post => "GET, HEAD, POST, OPTIONS",
            Self::PostDelete | Self::All => "GET, HEAD, POST, DELETE, OPTIONS",
        }
    }

    fn include(self, method: &Method) -> bool {
        match self {
            Self::Read => is_get(method),
            Self::Post => is_get(method) || method == Method::POST,
            Self::PostDelete => is_get(method) || method == Method::POST || method == Method::DELETE,
            Self::All => true,
        }
    }
}

/// Whether a request is answered like GET.
#[must_use]
pub fn is_get(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Writes an error in a protocol's form.
pub(super) type Refuse = Arc<dyn Fn(&Error) -> HttpResponse>;

/// A list of routes to which a protocol adds its own.
pub struct Routes<'a> {
    config: &'a mut ServiceConfig,
    later: &'a mut Later,
    answers: &'a Arc<Answers>,
    refuse: Refuse,
}

/// The routes that are tried after those of exact paths.
pub(super) type Later = Vec<Box<dyn FnOnce(&mut ServiceConfig)>>;

impl<'a> Routes<'a> {
    pub(super) fn new(config: &'a mut ServiceConfig, later: &'a mut Later, answers: &'a Arc<Answers>, refuse: Refuse) -> Self {
        Self { config, later, answers, refuse }
    }

    /// Adds a route. `path` may have parts in braces, as in actix-web.
    pub fn add(&mut self, path: &str, methods: Methods, handler: impl AsyncFn(&mut HttpCall) -> HttpResponse + 'static) {
        let resource = self.resource(path, methods, handler);
        // A path with a name in it is a regular expression. Exact paths are compared with less work, and hide no other path.
        if path.contains('{') {
            self.add_later(resource);
        } else {
            self.config.service(resource);
        }
    }

    /// Adds a route for requests whose head the guard accepts.
    pub fn add_if(
        &mut self,
        path: &str,
        guard: impl Fn(&RequestHead) -> bool + 'static,
        methods: Methods,
        handler: impl AsyncFn(&mut HttpCall) -> HttpResponse + 'static,
    ) {
        let resource = self.resource(path, methods, handler);
        self.add_later(resource.guard(guard::fn_guard(move |context| guard(context.head()))));
    }

    /// Adds a service of actix-web under a prefix. It takes requests of some methods only.
    pub fn add_service(&mut self, prefix: &str, methods: Methods, service: impl HttpServiceFactory + 'static) {
        let (answers, refuse) = (Arc::clone(self.answers), Arc::clone(&self.refuse));
        let other = move |request: HttpRequest| {
            let response = other_method(&answers, &refuse, methods, &request);
            async move { response }
        };
        self.add_later(web::scope(prefix).wrap(from_fn(finish)).service(service).default_service(web::to(other)));
    }

    fn add_later(&mut self, service: impl HttpServiceFactory + 'static) {
        self.later.push(Box::new(|config| {
            config.service(service);
        }));
    }

    // One handler for all methods. With a route for each method, actix-web would try them in turn at every request.
    fn resource(&self, path: &str, methods: Methods, handler: impl AsyncFn(&mut HttpCall) -> HttpResponse + 'static) -> Resource {
        let (answers, refuse) = (Arc::clone(self.answers), Arc::clone(&self.refuse));
        let route = Rc::new(Route { answers, refuse, methods, handler });
        web::resource(path).to(move |request: HttpRequest, payload: web::Payload| {
            let route = Rc::clone(&route);
            async move { route.answer(request, payload).await }
        })
    }
}

struct Route<H> {
    answers: Arc<Answers>,
    refuse: Refuse,
    methods: Methods,
    handler: H,
}

impl<H: AsyncFn(&mut HttpCall) -> HttpResponse> Route<H> {
    async fn answer(&self, request: HttpRequest, payload: web::Payload) -> HttpResponse {
        let mut call = HttpCall::new(request, payload, Arc::clone(&self.answers));
        let mut response = if self.methods.include(call.request.method()) {
            (self.handler)(&mut call).await
        } else {
            other_method(&self.answers, &self.refuse, self.methods, &call.request)
        };
        call.answers().finish(&call.request, &mut response);
        response
    }
}

/// Answers OPTIONS, and refuses methods that a route does not have.
fn other_method(answers: &Answers, refuse: &Refuse, methods: Methods, request: &HttpRequest) -> HttpResponse {
    let allow = methods.allow();
    if request.method() == Method::OPTIONS {
        return answers.options(request, allow);
    }
    let text = format!("method {} is not allowed here; expected one of {allow}", request.method());
    let mut response = refuse(&Error::new(Code::Unimplemented, text));
    *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
    response
}

async fn finish(
    answers: web::Data<Answers>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let mut response = next.call(request).await?;
    let request = response.request().clone();
    answers.finish(&request, response.response_mut());
    Ok(response)
}
