//! Traces: sends requests and their runs as OpenTelemetry spans. A span is made when a request or a run has ended, from times
//! that are measured anyway. A thread of its own sends the spans. It drops those that it cannot send in time, and the log says
//! so.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanProcessor};
use opentelemetry_sdk::Resource;
use tfweb_actors::{ObservedRun, RunObserver, TraceLink};
use tfweb_engine::Error;

use super::labels::SignatureLabels;
use super::request::{EndedRequest, Head, Status as Answer, Transport};
use super::stage::Stage;

/// How long a stop waits until the last spans are sent.
const STOP_WAIT: Duration = Duration::from_secs(2);
/// The time limit of one export to the collector. This is OpenTelemetry's default.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);
/// The service's name, unless OpenTelemetry's variables set another.
const SERVICE: &str = "tfweb";

/// Makes spans and queues them for export.
pub struct Tracer {
    /// Makes the spans of requests. It samples as OpenTelemetry's variables say; the default follows the caller, and samples
    /// every request whose caller says nothing.
    requests: SdkTracer,
    /// Makes the spans of runs. It takes every run, because only runs with a sampled request reach it.
    runs: SdkTracer,
    queue: SpanQueue,
}

/// The queue of spans that both tracers share.
#[derive(Clone, Debug)]
struct SpanQueue(Arc<BatchSpanProcessor>);

impl SpanProcessor for SpanQueue {
    fn on_start(&self, span: &mut Span, context: &Context) {
        self.0.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        self.0.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.0.force_flush()
    }

    /// [`Tracer::stop`] shuts the queue down. Each user of the queue would wait for the end again.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// The span of a request that has not ended.
pub(super) struct RequestSpan {
    span: Span,
    /// The start of the span, by both clocks.
    begun: (Instant, SystemTime),
}

impl RequestSpan {
    pub(super) fn link(&self) -> TraceLink {
        link(self.span.span_context())
    }

    fn time(&self, at: Instant) -> SystemTime {
        self.begun.1 + at.saturating_duration_since(self.begun.0)
    }
}

impl Tracer {
    /// Starts a thread that sends spans to a collector.
    ///
    /// # Errors
    /// `Internal` if the client of the collector cannot be made.
    pub(super) fn start(endpoint: &str) -> Result<Self, Error> {
        // The provider belongs to the whole process. An error means that it has one already, which is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let wrong = |error: &dyn std::fmt::Display| Error::internal(format!("traces to `{endpoint}`: {error}"));
        // The client starts a thread with its own runtime. That must not happen inside another runtime.
        let client = std::thread::spawn(|| reqwest::blocking::Client::builder().timeout(EXPORT_TIMEOUT).build()).join();
        let client = client.map_err(|_| wrong(&"no client"))?.map_err(|error| wrong(&error))?;
        let exporter = SpanExporter::builder().with_http().with_http_client(client).with_endpoint(endpoint).build();
        let mut processor = BatchSpanProcessor::builder(exporter.map_err(|error| wrong(&error))?).build();
        let resource = resource();
        processor.set_resource(&resource);
        let queue = SpanQueue(Arc::new(processor));
        let provider = || SdkTracerProvider::builder().with_span_processor(queue.clone()).with_resource(resource.clone());
        // A run has one link for each request, and the number of requests in a run has a limit.
        let runs = provider().with_sampler(Sampler::AlwaysOn).with_max_links_per_span(u32::MAX).build();
        let requests = provider().build();
        Ok(Self { requests: requests.tracer(SERVICE), runs: runs.tracer(SERVICE), queue })
    }

    /// Begins a request's span; `None` if the request is not sampled.
    pub(super) fn begin(&self, head: &Head) -> Option<RequestSpan> {
        let begun = (Instant::now(), SystemTime::now());
        let parent = TraceContextPropagator::new().extract_with_context(&Context::new(), &Carrier(head));
        let builder = SpanBuilder::from_name("request").with_kind(SpanKind::Server).with_start_time(begun.1);
        let span = self.requests.build_with_context(builder, &parent);
        span.is_recording().then_some(RequestSpan { span, begun })
    }

    /// Ends a request's span and makes the spans of its stages.
    pub(super) fn end(&self, mut request: RequestSpan, ended: &EndedRequest<'_>) {
        let context = Context::new().with_remote_span_context(request.span.span_context().clone());
        for stage in Stage::ALL {
            let Some((begun, time)) = ended.summary.and_then(|summary| summary.stage(stage)) else {
                continue;
            };
            let mut builder = SpanBuilder::from_name(stage.name()).with_start_time(request.time(begun));
            if let (Stage::Run, Some(summary)) = (stage, ended.summary) {
                builder = builder.with_links(summary.runs.iter().map(|run| Link::with_context(context_of(run))).collect());
            }
            let mut span = self.requests.build_with_context(builder, &context);
            span.end_with_timestamp(request.time(begun + time));
        }
        let (name, attributes) = name_and_attributes(ended);
        request.span.update_name(name);
        request.span.set_attributes(attributes);
        if ended.status.is_server_error() {
            request.span.set_status(Status::error(""));
        }
        let end = request.time(Instant::now());
        request.span.end_with_timestamp(end);
    }

    /// Makes a tracer for the runs of a signature.
    pub(crate) fn of_signature(self: &Arc<Self>, labels: Arc<SignatureLabels>) -> Arc<dyn RunObserver> {
        Arc::new(SignatureTracer { tracer: Arc::clone(self), labels })
    }

    /// Sends the remaining spans. It waits [`STOP_WAIT`] at most.
    pub(super) fn stop(&self) {
        if let Err(error) = self.queue.0.shutdown_with_timeout(STOP_WAIT) {
            tracing::warn!("the last traces could not be sent: {error}");
        }
    }
}

/// Traces the runs of a signature.
struct SignatureTracer {
    tracer: Arc<Tracer>,
    labels: Arc<SignatureLabels>,
}

impl RunObserver for SignatureTracer {
    /// A span is made when its run has ended.
    fn begins(&self, _: usize, _: usize) {}

    fn ran(&self, run: &ObservedRun<'_>) -> Option<TraceLink> {
        let end = SystemTime::now() - run.ended.elapsed();
        let mut attributes = signature_attributes(&self.labels.model, self.labels.version, &self.labels.signature);
        attributes.push(KeyValue::new("tfweb.batch.rows", count(run.rows)));
        attributes.push(KeyValue::new("tfweb.batch.requests", count(run.requests)));
        let builder = SpanBuilder::from_name("batch")
            .with_start_time(end - run.ended.duration_since(run.begun))
            .with_attributes(attributes)
            .with_links(run.links.iter().map(|request| Link::with_context(context_of(request))).collect());
        let mut span = self.tracer.runs.build_with_context(builder, &Context::new());
        if let Some(code) = run.error {
            span.set_attribute(KeyValue::new("error.type", code));
            span.set_status(Status::error(""));
        }
        span.end_with_timestamp(end);
        Some(link(span.span_context()))
    }
}

/// The headers of W3C Trace Context.
struct Carrier<'h>(&'h Head);

impl Extractor for Carrier<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => self.0.traceparent.as_deref(),
            "tracestate" => self.0.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// The name and the attributes of a request's span, in the words of OpenTelemetry's conventions
/// (<https://opentelemetry.io/docs/specs/semconv/>).
fn name_and_attributes(ended: &EndedRequest<'_>) -> (String, Vec<KeyValue>) {
    let EndedRequest { head, status, summary, .. } = ended;
    let mut attributes = vec![KeyValue::new("tfweb.request_id", head.id.clone())];
    attributes.extend(head.client.map(|client| KeyValue::new("client.address", client.to_string())));
    if let Some(labels) = summary.and_then(|summary| summary.signature.as_deref()) {
        let SignatureLabels { model, version, signature } = labels;
        attributes.extend(signature_attributes(model, *version, signature));
        attributes.extend(summary.map(|summary| KeyValue::new("tfweb.rows", count(summary.rows))));
    }
    let has_route = status.is_success() || summary.is_some_and(|summary| summary.signature.is_some());
    let mut name = match head.transport {
        Transport::Http => head.method.clone(),
        Transport::Grpc => head.path.trim_start_matches('/').to_owned(),
    };
    match status {
        Answer::Http(status) => {
            attributes.push(KeyValue::new("http.request.method", head.method.clone()));
            attributes.push(KeyValue::new("http.response.status_code", i64::from(*status)));
            attributes.push(KeyValue::new("url.path", head.path.clone()));
            // Collectors expect few names of spans, and the path of a request without a route can be anything.
            if has_route {
                name = format!("{name} {}", head.path);
                attributes.push(KeyValue::new("http.route", head.path.clone()));
            }
            if status >= &500 {
                attributes.push(KeyValue::new("error.type", status.to_string()));
            }
        }
        Answer::Grpc(code) => {
            let (service, method) = name.rsplit_once('/').unwrap_or(("", &name));
            attributes.push(KeyValue::new("rpc.system", "grpc"));
            attributes.push(KeyValue::new("rpc.service", service.to_owned()));
            attributes.push(KeyValue::new("rpc.method", method.to_owned()));
            attributes.push(KeyValue::new("rpc.grpc.status_code", i64::from(i32::from(*code))));
            if *code == tonic::Code::Unimplemented && !has_route {
                "grpc".clone_into(&mut name);
            }
        }
    }
    (name, attributes)
}

fn signature_attributes(model: &str, version: u64, signature: &str) -> Vec<KeyValue> {
    vec![
        KeyValue::new("tfweb.model", model.to_owned()),
        KeyValue::new("tfweb.version", i64::try_from(version).unwrap_or(i64::MAX)),
        KeyValue::new("tfweb.signature", signature.to_owned()),
    ]
}

fn count(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

fn link(context: &SpanContext) -> TraceLink {
    TraceLink { trace: context.trace_id().to_bytes(), span: context.span_id().to_bytes() }
}

fn context_of(link: &TraceLink) -> SpanContext {
    let (trace, span) = (TraceId::from_bytes(link.trace), SpanId::from_bytes(link.span));
    SpanContext::new(trace, span, TraceFlags::SAMPLED, false, TraceState::NONE)
}

/// The attributes of all spans: this service, and those that OpenTelemetry's variables add.
fn resource() -> Resource {
    let resource = Resource::builder().with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
    let is_named = |resource: Resource| {
        let name = resource.get(&opentelemetry::Key::from_static_str("service.name"));
        name.is_some_and(|name| !name.as_str().starts_with("unknown_service"))
    };
    if is_named(Resource::builder().build()) {
        resource.build()
    } else {
        resource.with_service_name(SERVICE).build()
    }
}
