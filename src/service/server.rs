//! The service's end of the conversation.

use std::collections::BTreeSet;
use std::future::IntoFuture;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router, middleware};
use ractor::ActorStatus;
use rivus_actors::{Asked, JobStatus, JobView, ProgramFactories, Standing, Submission};
use rivus_core::job::{JobOptions, JobOutcome, ProgramRef, SavepointRequest, StartState};
use rivus_core::{CheckpointKind, Failure, JobGraph, JobId, OperatorUid};
use rivus_state::{ElectionError, Leader};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::api::{
    EventDetails, FactoryDetails, JobDetails, JobSummary, LeaderDetails, Refusal, RescaleRequest,
    SavepointMade, SavepointOptions, SubmitRequest, Submitted, TaskManagerDetails,
};
use super::dot::dot;
use super::metrics::{self, Shown};
use super::settings::ProcessSettings;
use super::standby::answering;
use crate::cluster::Cluster;
use crate::error::JobError;
use crate::handle::JobHandle;
use crate::jobs::Jobs;
use crate::savepoint::{self, Savepoint};

/// How long a process that is told to stop waits for the answers that are under way.
const LAST_ANSWERS: Duration = Duration::from_secs(10);

/// A process that leads, or stands by.
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
            // This process is ending, or leads no more: the next leader has it, whoever asks again.
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
    /// Starts the process's actors. When they lead, jobs that lie in the storage go on.
    pub(crate) async fn start(
        jobs: Jobs,
        settings: ProcessSettings,
    ) -> Result<Arc<Self>, JobError> {
        let options = settings.options.clone();
        let settings = settings.cluster(&jobs)?;
        let cluster = Cluster::start(settings).await?;
        Ok(Arc::new(Self {
            cluster: Arc::new(cluster),
            jobs,
            options,
        }))
    }

    /// Waits until this process leads and knows its jobs. Only one that never does waits for ever.
    pub(crate) async fn leads(&self) {
        let is_so = |standing: &Standing| matches!(standing, Standing::Leading { .. });
        // It changes as long as this is there.
        let _ = self.standing().wait_for(is_so).await;
    }

    /// Waits until this process doesn't lead any more. One that ends doesn't say so.
    pub(crate) async fn stands_by(&self) {
        let is_so = |standing: &Standing| matches!(standing, Standing::By);
        let _ = self.standing().wait_for(is_so).await;
    }

    /// Whether this process leads, as it changes.
    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.cluster.context().stand.watch()
    }

    /// Who leads by the election.
    pub(super) async fn elected(&self) -> Result<Option<Leader>, ElectionError> {
        let election = Arc::clone(&self.cluster.context().election);
        let looked = self.cluster.blocking(move || election.leader()).await;
        // A process that is ending knows nobody.
        looked.unwrap_or(Ok(None))
    }

    /// Where this process is asked.
    pub(super) fn commands(&self) -> &str {
        &self.cluster.context().config.commands
    }

    /// Where TaskManagers of other processes come to.
    pub(crate) fn listens(&self) -> &str {
        self.cluster.listens()
    }

    /// Answers requests until `stop` is over. Returns when those under way are answered, or ten seconds have passed, and nobody is
    /// led any more.
    pub(crate) async fn serve(
        self: Arc<Self>,
        listener: TcpListener,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        let cluster = Arc::clone(&self.cluster);
        let (told, mut is_told) = watch::channel(false);
        let stop = async move {
            stop.await;
            let _ = told.send(true);
        };
        let serving = axum::serve(listener, router(self)).with_graceful_shutdown(stop);
        // Whoever sends half a request and no more doesn't keep the process.
        let patience = async {
            let _ = is_told.wait_for(|is_told| *is_told).await;
            tokio::time::sleep(LAST_ANSWERS).await;
        };
        let served = tokio::select! {
            served = serving.into_future() => served,
            () = patience => Ok(()),
        };
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

    /// The job that is meant, by who only looks: of a name that no running job has, the one that ended last.
    fn look(&self, wanted: &str) -> Result<JobView, Refused> {
        let found = self.find(wanted);
        if !matches!(&found, Err(Refused(StatusCode::NOT_FOUND, _))) {
            return found;
        }
        let mut named = self.cluster.views().all();
        named.retain(|view| view.name == wanted);
        named
            .into_iter()
            .max_by_key(|view| view.ended_at)
            .map_or(found, Ok)
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

    /// The plan of a job that is over. Its log says which program that was, and is kept for a while; so it is built once more.
    async fn graph_by_log(&self, job: JobId) -> Result<Arc<JobGraph>, Refused> {
        let (node, jobs) = (Arc::clone(self.cluster.context()), self.jobs.clone());
        let log = self
            .cluster
            .blocking(move || rivus_actors::replay(&node.log, job));
        let unread =
            |failure: Failure| Refused(StatusCode::SERVICE_UNAVAILABLE, failure.to_string());
        let log = log.await?.map_err(unread)?;
        let build = move || {
            let program = log.program?;
            let mut graph = Failure::caught(|| jobs.build(&program)).ok()?;
            if let Some(parallelism) = log.parallelism {
                graph = graph.rescaled(parallelism).ok()?;
            }
            (graph.fingerprint() == log.fingerprint).then(|| Arc::new(graph))
        };
        self.cluster.blocking(build).await?.ok_or_else(|| {
            let message = format!(
                "job {job} has ended, and its graph is not kept: this binary has another program by now, or none"
            );
            Refused(StatusCode::GONE, message)
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
        let job = JobId(request.id.unwrap_or_else(|| self.cluster.new_id()));
        let name = request.name.unwrap_or(request.job);
        if let Some(view) = self.cluster.views().watch(job) {
            if view.borrow().name != name {
                let message = format!("there is another job {job} already: give another id");
                return Err(Refused(StatusCode::CONFLICT, message));
            }
            return begun(job, view).await;
        }
        let from = request.from_savepoint.map(Savepoint::at);
        let dropped: BTreeSet<OperatorUid> = request
            .drop_state_of
            .iter()
            .map(|uid| uid.as_str().into())
            .collect();
        let prepared = self.prepare(job, &program, &options, from, dropped);
        let (job, start) = prepared.await?;
        let submission = Submission {
            name,
            program: Some(Box::new(program)),
            options: Box::new(options),
            start: start.map(Box::new),
        };
        let view = self.cluster.submit_named(job, submission);
        let _waiting = self.cluster.waiting(job, Asked::Submission);
        begun(job, view).await
    }

    /// Builds the plan, to refuse what can't run; and what it starts from, which may be what another job has claimed.
    async fn prepare(
        &self,
        job: JobId,
        program: &ProgramRef,
        options: &JobOptions,
        from: Option<Savepoint>,
        dropped: BTreeSet<OperatorUid>,
    ) -> Result<(JobId, Option<StartState>), Refused> {
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
            return Ok((job, None));
        };
        let node = Arc::clone(self.cluster.context());
        let directory = self.cluster.directory().map(std::path::Path::to_owned);
        let prepare = move || {
            let place = savepoint.place(directory.as_deref());
            savepoint::prepare(job, place, &graph, &dropped, &node)
        };
        let (job, start) = self.cluster.blocking(prepare).await??;
        Ok((job, Some(start)))
    }
}

/// Waits until a job's master has begun with it: then the log has it, and it outlives this process.
async fn begun(job: JobId, mut view: watch::Receiver<JobView>) -> Result<JobId, Refused> {
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

fn router(service: Arc<Service>) -> Router {
    Router::new()
        .route("/v1/jobs", get(list).post(submit))
        .route("/v1/jobs/{job}", get(details))
        .route("/v1/jobs/{job}/cancel", post(cancel))
        .route("/v1/jobs/{job}/savepoints", post(make_savepoint))
        .route("/v1/jobs/{job}/rescale", post(rescale))
        .route("/v1/jobs/{job}/log", get(log))
        .route("/v1/jobs/{job}/graph", get(graph))
        .route("/v1/factories", get(factories))
        .route("/v1/leader", get(leader))
        .route("/v1/taskmanagers", get(task_managers))
        .layer(middleware::from_fn_with_state(
            Arc::clone(&service),
            answering,
        ))
        // Those are about the process that is asked, whoever leads.
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
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
    let mut all: Vec<JobSummary> = views.iter().map(JobSummary::of).collect();
    // Those that run, then the last ones that ended; of those that ended before this leader, only that they did is known.
    all.sort_by_key(|job| (job.is_over(), std::cmp::Reverse(job.ended_at)));
    Json(all)
}

async fn details(State(service): Shared, Path(job): Path<String>) -> Answer<JobDetails> {
    let view = service.look(&job)?;
    let kept = service.handle(view.job)?.kept_checkpoint();
    let kept = kept.as_ref().and_then(Savepoint::path);
    Ok(Json(JobDetails {
        kept_checkpoint: kept.map(|folder| folder.display().to_string()),
        ..JobDetails::of(&view)
    }))
}

async fn log(
    State(service): Shared,
    Path(job): Path<String>,
    RawQuery(query): RawQuery,
) -> Answer<Vec<EventDetails>> {
    let after = match query.as_deref() {
        None | Some("") => Some(0),
        Some(query) => query
            .strip_prefix("after=")
            .and_then(|number| number.parse::<u64>().ok()),
    };
    let after = after.ok_or_else(|| {
        let message = "of a log only those behind an event can be asked for: give ?after=NUMBER";
        Refused(StatusCode::BAD_REQUEST, message.to_owned())
    })?;
    let view = service.look(&job)?;
    let events = view.history.events();
    let new = events.filter(|event| event.number > after);
    Ok(Json(new.map(EventDetails::of).collect()))
}

async fn cancel(State(service): Shared, Path(job): Path<String>) -> Answer<JobSummary> {
    let view = service.find(&job)?;
    let mut handle = service.handle(view.job)?;
    handle.cancel();
    let _waiting = service.cluster.waiting(view.job, Asked::Cancel);
    // It is in the log then, and outlives this process.
    let is_so = |view: &JobView| matches!(view.status, JobStatus::Ending | JobStatus::Ended(_));
    let view = handle.view.wait_for(is_so).await;
    let view = view.map_err(|_| JobError::NodeStopped)?;
    Ok(Json(JobSummary::of(&view)))
}

async fn make_savepoint(
    State(service): Shared,
    Path(job): Path<String>,
    options: Result<Json<SavepointOptions>, JsonRejection>,
) -> Answer<SavepointMade> {
    let Json(options) = options?;
    let SavepointOptions { stop, drain, token } = options;
    let kind = match (stop, drain) {
        (true, drain) => CheckpointKind::Stop { drain },
        (false, false) => CheckpointKind::Savepoint,
        (false, true) => {
            let message = "event time ends only where the job does: give stop too";
            return Err(Refused(StatusCode::BAD_REQUEST, message.to_owned()));
        }
    };
    let token = token.unwrap_or_else(|| service.cluster.new_id());
    let job = service.find(&job)?.job;
    let handle = service.handle(job)?;
    let _waiting = service.cluster.waiting(job, Asked::Savepoint(token));
    let request = SavepointRequest {
        token,
        kind,
        rescale_to: None,
    };
    let savepoint = handle.make_savepoint(request).await?;
    Ok(Json(SavepointMade {
        name: savepoint.name().to_owned(),
        path: savepoint.path().map(|path| path.display().to_string()),
    }))
}

async fn rescale(
    State(service): Shared,
    Path(job): Path<String>,
    request: Result<Json<RescaleRequest>, JsonRejection>,
) -> Answer<JobSummary> {
    let Json(RescaleRequest { parallelism, token }) = request?;
    let token = token.unwrap_or_else(|| service.cluster.new_id());
    let job = service.find(&job)?.job;
    let handle = service.handle(job)?;
    let _waiting = service.cluster.waiting(job, Asked::Savepoint(token));
    handle.rescale_as(token, parallelism).await?;
    Ok(Json(JobSummary::of(&handle.view())))
}

async fn graph(State(service): Shared, Path(job): Path<String>) -> Result<String, Refused> {
    let view = service.look(&job)?;
    let graph = match service.cluster.graph(view.job) {
        Some(graph) => graph,
        None => service.graph_by_log(view.job).await?,
    };
    Ok(dot(&view.name, &graph))
}

async fn leader(State(service): Shared) -> Answer<LeaderDetails> {
    match *service.standing().borrow() {
        Standing::Leading { term } => Ok(Json(LeaderDetails { term })),
        _ => Err(JobError::NodeStopped.into()),
    }
}

async fn health(State(service): Shared) -> (StatusCode, &'static str) {
    if service.cluster.node().get_status() != ActorStatus::Running {
        let ended = "its actors have ended: start it again\n";
        return (StatusCode::SERVICE_UNAVAILABLE, ended);
    }
    let standing = match *service.standing().borrow() {
        Standing::By => "ok standby\n",
        Standing::Looking { .. } | Standing::Leading { .. } => "ok leader\n",
    };
    (StatusCode::OK, standing)
}

async fn metrics(State(service): Shared) -> impl IntoResponse {
    let node = service.cluster.context();
    let shown = match *service.standing().borrow() {
        Standing::Leading { .. } => Shown {
            leads: true,
            jobs: node.views.all(),
            task_managers: node.task_managers.borrow().clone(),
        },
        Standing::By | Standing::Looking { .. } => Shown::default(),
    };
    ([(header::CONTENT_TYPE, metrics::FORMAT)], shown.text())
}

async fn task_managers(State(service): Shared) -> Json<Vec<TaskManagerDetails>> {
    let seen = service.cluster.context().task_managers.borrow().clone();
    let mut details: Vec<_> = seen.iter().map(TaskManagerDetails::of).collect();
    details.sort_by(|one, other| one.name.cmp(&other.name));
    Json(details)
}

async fn factories(State(service): Shared) -> Json<Vec<FactoryDetails>> {
    let all = service.jobs.all();
    let details = all.map(|(name, job)| FactoryDetails {
        name: name.to_owned(),
        about: job.about.clone(),
    });
    Json(details.collect())
}
