//! A job's figures reach an OpenTelemetry exporter.

use opentelemetry::metrics::MeterProvider;
use opentelemetry_sdk::metrics::data::{AggregatedMetrics, MetricData};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, PeriodicReader, SdkMeterProvider};
use rivus::StreamEnvironment;

#[tokio::test]
async fn a_jobs_figures_reach_an_exporter() {
    let exporter = InMemoryMetricExporter::default();
    let provider = SdkMeterProvider::builder()
        .with_reader(PeriodicReader::builder(exporter.clone()).build())
        .build();
    let env = StreamEnvironment::default();
    let out = env
        .from_collection(vec![1_u32, 2, 3])
        .map(|n| n + 1)
        .collect();
    let job = env.start("figures").await.expect("starts");
    // Jobs may have one name: their series are told apart by this.
    let job_id = job.id().to_string();
    job.observe(&provider.meter("test"));
    job.clone().wait().await.expect("completes");
    provider.force_flush().expect("collects");
    let metrics = exporter.get_finished_metrics().expect("exported");
    let names: Vec<String> = metrics
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics())
        .map(|metric| metric.name().to_owned())
        .collect();
    let ids = metrics
        .iter()
        .flat_map(|resource| resource.scope_metrics())
        .flat_map(|scope| scope.metrics())
        .filter_map(|metric| match metric.data() {
            AggregatedMetrics::U64(MetricData::Sum(sum)) => Some(sum),
            _ => None,
        })
        .flat_map(|sum| sum.data_points())
        .map(|point| {
            point
                .attributes()
                .find(|known| known.key.as_str() == "job.id")
        });
    let ids: Vec<String> = ids
        .map(|id| id.expect("has an id").value.to_string())
        .collect();
    assert!(
        ids.len() > 3 && ids.iter().all(|id| *id == job_id),
        "{ids:?}"
    );
    assert_eq!(out.len(), 3);
    for name in [
        "rivus.job.checkpoints",
        "rivus.job.takeovers",
        "rivus.records.partly_late",
        "rivus.records.skipped",
    ] {
        assert!(
            names.iter().any(|known| known == name),
            "{name} in {names:?}"
        );
    }
}
