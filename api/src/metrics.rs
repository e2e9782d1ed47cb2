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
use projections::{
    chat_search::Index,
    event_log::{APPEND_SECONDS, AppendLatencies},
    node_directory,
    projection_status::State,
};
use prometheus::{
    Encoder as _, Histogram, HistogramOpts, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
    proto::{self, MetricFamily},
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
    projection_lag: IntGaugeVec,
    projection_lag_ms: IntGaugeVec,
    parked_projections: IntGauge,
    search_passed_over: IntGauge,
    is_acting: IntGauge,
    lease_epoch: IntGauge,
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
            projection_lag: gauges(
                &registry,
                "sam_projection_lag_events",
                "Events that a projection does not show yet.",
                "projection",
            ),
            projection_lag_ms: gauges(
                &registry,
                "sam_projection_lag_ms",
                "Age of the oldest event that a projection does not show yet, in milliseconds.",
                "projection",
            ),
            parked_projections: gauge(
                &registry,
                "sam_parked_projections",
                "Projections that wait before an event which they could not take.",
            ),
            search_passed_over: gauge(&registry, "sam_search_passed_over", "Unreadable texts."),
            is_acting: gauge(
                &registry,
                "sam_lease_held",
                "1 where processes, timers and projections run, 0 in the other replicas.",
            ),
            lease_epoch: gauge(
                &registry,
                "sam_lease_epoch",
                "How often the lease was taken, as far as this server has heard.",
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
    set(&figures.is_acting, u8::from(server.system().is_acting()));
    set(&figures.lease_epoch, server.system().lease_epoch());
    set(&figures.live_sockets, server.feed().n_subscribers());
    set(&figures.damaged_streams, server.system().damaged_streams().await?.len());
    let projections = server.system().projections().await?.projections;
    for projection in &projections {
        let name = [projection.name.as_str()];
        set(&figures.projection_lag.with_label_values(&name), projection.lag_events);
        let lag_ms = projection.lag.map_or(0, |lag| lag.num_milliseconds());
        set(&figures.projection_lag_ms.with_label_values(&name), lag_ms);
    }
    let n_parked = projections.iter().filter(|one| one.state == State::Parked).count();
    set(&figures.parked_projections, n_parked);
    let n_passed_over = Index::new(server.database()).n_passed_over().await?;
    set(&figures.search_passed_over, n_passed_over);
    let owner = server.newest_owner().await;
    let nodes = node_directory::list(server.database(), owner).await?;
    let n_links = nodes.iter().filter(|node| server.link(node.id).is_connected).count();
    set(&figures.agent_links, n_links);
    let mut text = Vec::new();
    let encoder = TextEncoder::new();
    let mut families = figures.registry.gather();
    families.push(append_seconds(&server.log().append_latencies()));
    encoder.encode(&families, &mut text).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().content_type(encoder.format_type().to_owned()).body(text))
}

/// What the log counts by itself, as a histogram for Prometheus.
fn append_seconds(latencies: &AppendLatencies) -> MetricFamily {
    let buckets = APPEND_SECONDS.iter().zip(latencies.cumulative).map(|(bound, count)| {
        let mut bucket = proto::Bucket::default();
        bucket.set_upper_bound(*bound);
        bucket.set_cumulative_count(count);
        bucket
    });
    let mut histogram = proto::Histogram::default();
    histogram.set_sample_count(latencies.count);
    histogram.set_sample_sum(latencies.sum.as_secs_f64());
    histogram.set_bucket(buckets.collect());
    let mut metric = proto::Metric::default();
    metric.set_histogram(histogram);
    let mut family = MetricFamily::default();
    family.set_name("sam_log_append_seconds".to_owned());
    family.set_help("Time until an append was on disk, from whomever it came.".to_owned());
    family.set_field_type(proto::MetricType::HISTOGRAM);
    family.set_metric(vec![metric]);
    family
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
