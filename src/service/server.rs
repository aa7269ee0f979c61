//! The service's end of the conversation.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use rivus_actors::{JobStatus, JobView, ProgramFactories, Submission};
use rivus_core::job::{JobOptions, JobOutcome, ProgramRef, StartState};
use rivus_core::{Failure, JobId, OperatorUid};
use tokio::net::TcpListener;

use super::api::{
    FactoryDetails, JobDetails, JobSummary, Refusal, SavepointMade, SavepointOptions,
    SubmitRequest, Submitted,
};
use super::dot::dot;
use super::settings::ProcessSettings;
use crate::cluster::Cluster;
use crate::error::JobError;
use crate::handle::JobHandle;
use crate::jobs::Jobs;
use crate::savepoint::{self, Savepoint};

/// A process that leads.
pub(crate) struct Service {
    cluster: Arc<Cluster>,
    jobs: Jobs,
    /// Of jobs that have none of their own.
    options: JobOptions,
}

/// Why a request was not carried out.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(Refusal { error: self.1 })).into_response()
    }
}

impl From<JobError> for Refused {
    fn from(error: JobError) -> Self {
        let status = match error {
            JobError::NodeStopped => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::CONFLICT,
        };
        Self(status, error.to_string())
    }
}

impl From<Failure> for Refused {
    fn from(failure: Failure) -> Self {
        Self(StatusCode::BAD_REQUEST, failure.to_string())
    }
}

impl From<JsonRejection> for Refused {
    fn from(rejection: JsonRejection) -> Self {
        Self(StatusCode::BAD_REQUEST, rejection.body_text())
    }
}

type Answer<T> = Result<Json<T>, Refused>;

impl Service {
    /// Starts the process's actors, and waits until they lead. Jobs that lie in the storage go on.
    pub(crate) async fn start(
        jobs: Jobs,
        settings: ProcessSettings,
    ) -> Result<Arc<Self>, JobError> {
        let options = settings.options.clone();
        let settings = settings.cluster(&jobs)?;
        let cluster = Arc::new(Cluster::start(settings).await?);
        cluster.views().until_recovered().await;
        Ok(Arc::new(Self {
            cluster,
            jobs,
            options,
        }))
    }

    /// Where TaskManagers of other processes come to.
    pub(crate) fn control_address(&self) -> &str {
        self.cluster.control_address()
    }

    /// Answers requests until `stop` is over. Returns when those under way are answered, and nobody is led any more.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let cluster = Arc::clone(&self.cluster);
        let served = axum::serve(listener, router(self))
            .with_graceful_shutdown(stop)
            .await;
        cluster.end().await;
        served
    }

    /// The job that is meant: by its id, the beginning of one, or its name.
    fn find(&self, wanted: &str) -> Result<JobView, Refused> {
        let all = self.cluster.views().all();
        let is_over = |view: &JobView| matches!(view.status, JobStatus::Ended(_));
        let named = all
            .iter()
            .filter(|view| view.name == wanted && !is_over(view));
        let begun = |view: &&JobView| wanted.len() >= 4 && view.job.to_string().starts_with(wanted);
        let mut found: Vec<&JobView> = all.iter().filter(begun).collect();
        if found.is_empty() {
            found = named.collect();
        }
        match found.as_slice() {
            [one] => Ok((*one).clone()),
            [] => Err(Refused(
                StatusCode::NOT_FOUND,
                format!("there is no job {wanted:?}: list shows those that there are"),
            )),
            several => {
                let ids: Vec<String> = several.iter().map(|view| view.job.to_string()).collect();
                let message = format!("{wanted:?} may be any of {}: give an id", ids.join(", "));
                Err(Refused(StatusCode::CONFLICT, message))
            }
        }
    }

    /// A handle on a job that is there.
    fn handle(&self, job: JobId) -> Result<JobHandle, Refused> {
        let view = self.cluster.views().watch(job);
        let view = view.ok_or(JobError::NodeStopped)?;
        Ok(JobHandle {
            job,
            view,
            cluster: Arc::clone(&self.cluster),
        })
    }

    async fn submit(&self, request: SubmitRequest) -> Result<JobId, Refused> {
        let factory = self.jobs.get(&request.job)?;
        let mut options = factory.options.as_ref().unwrap_or(&self.options).clone();
        if let Some(ms) = request.checkpoint_interval_ms {
            options.checkpoint_interval = Some(Duration::from_millis(ms));
        }
        options
            .check()
            .map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?;
        let program = ProgramRef {
            factory: request.job.clone(),
            args: request.args,
            parallelism: request.parallelism,
        };
        let job = JobId(self.cluster.new_id());
        let from = request.from_savepoint.map(Savepoint::at);
        let dropped: BTreeSet<OperatorUid> = request
            .drop_state_of
            .iter()
            .map(|uid| uid.as_str().into())
            .collect();
        let start = self.prepare(job, &program, &options, from, dropped).await?;
        let submission = Submission {
            name: request.name.unwrap_or(request.job),
            program: Some(Box::new(program)),
            options: Box::new(options),
            start: start.map(Box::new),
        };
        let mut view = self.cluster.submit_named(job, submission);
        // The log has it when a master has begun with it: from then on it outlives this process.
        loop {
            match view.borrow_and_update().clone() {
                JobView {
                    status: JobStatus::Ended(JobOutcome::Failed(failure)),
                    ..
                } => {
                    return Err(Refused(StatusCode::CONFLICT, failure.to_string()));
                }
                JobView { epoch, .. } if epoch.0 > 0 => return Ok(job),
                _ => {}
            }
            view.changed().await.map_err(|_| JobError::NodeStopped)?;
        }
    }

    /// Builds the plan, to refuse what can't run; and what it starts from.
    async fn prepare(
        &self,
        job: JobId,
        program: &ProgramRef,
        options: &JobOptions,
        from: Option<Savepoint>,
        dropped: BTreeSet<OperatorUid>,
    ) -> Result<Option<StartState>, Refused> {
        let (jobs, program) = (self.jobs.clone(), program.clone());
        let built = self
            .cluster
            .blocking(move || Failure::caught(|| jobs.build(&program)))
            .await?;
        let graph = built?;
        self.cluster.check_room(&graph)?;
        let fits = graph.check_options(options);
        fits.map_err(|error| Refused(StatusCode::BAD_REQUEST, error))?;
        let Some(savepoint) = from else {
            return Ok(None);
        };
        let node = Arc::clone(self.cluster.context());
        let foreign = savepoint.foreign_to(self.cluster.directory());
        let prepare = move || savepoint::prepare(job, &savepoint, foreign, &graph, &dropped, &node);
        Ok(Some(self.cluster.blocking(prepare).await??))
    }
}

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/jobs", get(list).post(submit))
        .route("/v1/jobs/{job}", get(details))
        .route("/v1/jobs/{job}/cancel", post(cancel))
        .route("/v1/jobs/{job}/savepoints", post(make_savepoint))
        .route("/v1/jobs/{job}/graph", get(graph))
        .route("/v1/factories", get(factories))
        .with_state(service)
}

type Shared = State<Arc<Service>>;

async fn submit(
    State(service): Shared,
    request: Result<Json<SubmitRequest>, JsonRejection>,
) -> Answer<Submitted> {
    let Json(request) = request?;
    let id = service.submit(request).await?.to_string();
    Ok(Json(Submitted { id }))
}

async fn list(State(service): Shared) -> Json<Vec<JobSummary>> {
    let views = service.cluster.views().all();
    Json(views.iter().map(JobSummary::of).collect())
}

async fn details(State(service): Shared, Path(job): Path<String>) -> Answer<JobDetails> {
    Ok(Json(JobDetails::of(&service.find(&job)?)))
}

async fn cancel(State(service): Shared, Path(job): Path<String>) -> Answer<JobSummary> {
    let view = service.find(&job)?;
    let handle = service.handle(view.job)?;
    handle.cancel();
    Ok(Json(JobSummary::of(&handle.view())))
}

async fn make_savepoint(
    State(service): Shared,
    Path(job): Path<String>,
    options: Result<Json<SavepointOptions>, JsonRejection>,
) -> Answer<SavepointMade> {
    let Json(options) = options?;
    let handle = service.handle(service.find(&job)?.job)?;
    let savepoint = match options {
        SavepointOptions {
            stop: true,
            drain: true,
        } => handle.drain_with_savepoint().await?,
        SavepointOptions {
            stop: true,
            drain: false,
        } => handle.stop_with_savepoint().await?,
        SavepointOptions {
            stop: false,
            drain: false,
        } => handle.savepoint().await?,
        SavepointOptions {
            stop: false,
            drain: true,
        } => {
            let message = "event time ends only where the job does: give stop too";
            return Err(Refused(StatusCode::BAD_REQUEST, message.to_owned()));
        }
    };
    Ok(Json(SavepointMade {
        name: savepoint.name().to_owned(),
        path: savepoint.path().map(|path| path.display().to_string()),
    }))
}

async fn graph(State(service): Shared, Path(job): Path<String>) -> Result<String, Refused> {
    let view = service.find(&job)?;
    let graph = service.cluster.graph(view.job).ok_or_else(|| {
        let message = format!("job {} is over, its plan is not kept", view.job);
        Refused(StatusCode::GONE, message)
    })?;
    Ok(dot(&view.name, &graph))
}

async fn factories(State(service): Shared) -> Json<Vec<FactoryDetails>> {
    let all = service.jobs.all();
    let details = all.map(|(name, job)| FactoryDetails {
        name: name.to_owned(),
        about: job.about.clone(),
    });
    Json(details.collect())
}
