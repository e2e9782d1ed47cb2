//! Figures for Prometheus.
//!
//! Counters are fed where things happen; gauges are read off when somebody asks.

use std::time::Instant;

use actix_web::{
    HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    get,
    http::Method,
    middleware::Next,
    web::Data,
};
use projections::node_directory;
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use crate::{VERSION, problem::Problem, server::Server};

/// All figures of this process.
pub struct Metrics {
    registry: Registry,
    requests: IntCounterVec,
    request_seconds: Histogram,
    commands: IntCounterVec,
    write_seconds: Histogram,
    log_position: IntGauge,
    projected_position: IntGauge,
    projection_lag: IntGauge,
    live_sockets: IntGauge,
    agent_links: IntGauge,
    damaged_streams: IntGauge,
}

const SECONDS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

impl Metrics {
    #[must_use]
    pub(crate) fn new() -> Self {
        let registry = Registry::new();
        let build =
            gauges(&registry, "sam_build_info", "Always 1; its labels say what runs.", "version");
        build.with_label_values(&[VERSION]).set(1);
        Self {
            requests: counters(
                &registry,
                "sam_http_requests_total",
                "Answered HTTP requests.",
                &["method", "status"],
            ),
            request_seconds: histogram(
                &registry,
                "sam_http_request_seconds",
                "Time from a request to its answer.",
            ),
            commands: counters(
                &registry,
                "sam_commands_total",
                "Commands of people by their outcome: recorded, refused, busy, failed.",
                &["outcome"],
            ),
            write_seconds: histogram(
                &registry,
                "sam_command_append_seconds",
                "Time until a command of a person was on disk.",
            ),
            log_position: gauge(&registry, "sam_log_position", "Position of the newest event."),
            projected_position: gauge(
                &registry,
                "sam_projected_position",
                "Position up to which the read models show the log.",
            ),
            projection_lag: gauge(
                &registry,
                "sam_projection_lag_events",
                "Events that the read models do not show yet.",
            ),
            live_sockets: gauge(&registry, "sam_live_sockets", "Open live feeds."),
            agent_links: gauge(&registry, "sam_agent_links", "Connected agents of nodes."),
            damaged_streams: gauge(
                &registry,
                "sam_damaged_streams",
                "Streams whose events cannot be folded.",
            ),
            registry,
        }
    }
}

/// The figures, as Prometheus reads them.
#[get("/metrics")]
pub(crate) async fn metrics(server: Data<Server>) -> Result<HttpResponse, Problem> {
    let figures = server.metrics();
    let head = *server.log().watch().borrow();
    let shown = server.projected_position();
    set(&figures.log_position, head);
    set(&figures.projected_position, shown);
    set(&figures.projection_lag, head.saturating_sub(shown));
    set(&figures.live_sockets, server.feed().n_subscribers());
    set(&figures.damaged_streams, server.system().dispatcher.damaged().len());
    let nodes = node_directory::list(server.database(), server.owner()).await?;
    let n_links = nodes.iter().filter(|node| server.link(node.id).is_connected).count();
    set(&figures.agent_links, n_links);
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    encoder.encode(&figures.registry.gather(), &mut text).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type(encoder.format_type().to_owned()).body(text))
}

/// Counts every answer, and what became of commands.
pub async fn count(
    server: Data<Server>,
    request: ServiceRequest,
    next: Next<impl MessageBody>,
) -> Result<ServiceResponse<impl MessageBody>, actix_web::Error> {
    let started = Instant::now();
    let method = request.method().clone();
    let answer = next.call(request).await;
    let status = match &answer {
        Ok(response) => response.status(),
        Err(error) => error.as_response_error().status_code(),
    };
    let figures = server.metrics();
    let seconds = started.elapsed().as_secs_f64();
    figures.requests.with_label_values(&[method.as_str(), status.as_str()]).inc();
    figures.request_seconds.observe(seconds);
    if ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&method) {
        let outcome = match status.as_u16() {
            200..=299 => "recorded",
            503 => "busy",
            400..=499 => "refused",
            _ => "failed",
        };
        figures.commands.with_label_values(&[outcome]).inc();
        if outcome == "recorded" {
            figures.write_seconds.observe(seconds);
        }
    }
    answer
}

fn set(gauge: &IntGauge, value: impl TryInto<i64>) {
    gauge.set(value.try_into().unwrap_or(i64::MAX));
}

// The names below are literals of this file: registering them fails only when two are the same.
const UNIQUE: &str = "names of figures are valid and unique";

fn gauge(registry: &Registry, name: &str, help: &str) -> IntGauge {
    let gauge = IntGauge::new(name, help).expect(UNIQUE);
    registry.register(Box::new(gauge.clone())).expect(UNIQUE);
    gauge
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> IntGaugeVec {
    let gauges = IntGaugeVec::new(Opts::new(name, help), &[label]).expect(UNIQUE);
    registry.register(Box::new(gauges.clone())).expect(UNIQUE);
    gauges
}

fn counters(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> IntCounterVec {
    let counters = IntCounterVec::new(Opts::new(name, help), labels).expect(UNIQUE);
    registry.register(Box::new(counters.clone())).expect(UNIQUE);
    counters
}

fn histogram(registry: &Registry, name: &str, help: &str) -> Histogram {
    let options = HistogramOpts::new(name, help).buckets(SECONDS.to_vec());
    let histogram = Histogram::with_opts(options).expect(UNIQUE);
    registry.register(Box::new(histogram.clone())).expect(UNIQUE);
    histogram
}
