//! Objects in S3, and in what speaks like it.
//!
//! Create-if-absent is a put with `If-None-Match: *`. Not every server that speaks like S3 honours it; the job log's probe
//! finds out. A listing sees whatever was written before it began.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::{BackoffConfig, ClientConfigKey, RetryConfig};
use rustls::crypto::{CryptoProvider, ring};

use crate::drive::Drive;
use crate::error::StorageError;
use crate::network::NetworkRuntime;
use crate::objects::ObjectStorage;

/// A bucket, or the part of one below a prefix.
///
/// ```
/// use rivus_state::{S3Credentials, S3Options};
///
/// let options = S3Options::new("state")
///     .prefix("rivus/production")
///     .endpoint("http://127.0.0.1:9000") // without one: Amazon's
///     .region("eu-central-1")
///     .credentials(S3Credentials::Given { key: "id".into(), secret: "secret".into(), token: None });
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Debug, Clone)]
pub struct S3Options {
    bucket: String,
    prefix: String,
    endpoint: Option<String>,
    region: Option<String>,
    credentials: S3Credentials,
}

/// Who we are.
#[derive(Clone, Default)]
pub enum S3Credentials {
    /// As Amazon's own tools find them: `AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, a web identity's token, or
    /// what the machine or container is given. A region or an endpoint is taken from there too, if none is set.
    #[default]
    Environment,
    /// These.
    Given {
        /// The access key's id.
        key: String,
        /// Its secret.
        secret: String,
        /// Of a session, if it is one.
        token: Option<String>,
    },
}

impl S3Options {
    /// The whole bucket, which must be there, with credentials from the environment.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            endpoint: None,
            region: None,
            credentials: S3Credentials::Environment,
        }
    }

    /// What all names begin with.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// The server, if it isn't Amazon's. `http://` is taken at its word, and nothing is encrypted.
    #[must_use]
    pub fn endpoint(mut self, endpoint: impl Into<String>) -> Self {
        self.endpoint = Some(endpoint.into());
        self
    }

    /// Where the bucket is.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Who we are.
    #[must_use]
    pub fn credentials(mut self, credentials: S3Credentials) -> Self {
        self.credentials = credentials;
        self
    }

    fn builder(&self) -> AmazonS3Builder {
        let mut builder = match &self.credentials {
            S3Credentials::Environment => AmazonS3Builder::from_env(),
            S3Credentials::Given { key, secret, token } => {
                let builder = AmazonS3Builder::new()
                    .with_access_key_id(key)
                    .with_secret_access_key(secret);
                match token {
                    Some(token) => builder.with_token(token),
                    None => builder,
                }
            }
        };
        if let Some(endpoint) = &self.endpoint {
            builder = builder.with_endpoint(endpoint);
            if endpoint.starts_with("http://") {
                builder = builder.with_allow_http(true);
            }
        }
        if let Some(region) = &self.region {
            builder = builder.with_region(region);
        }
        builder
            .with_bucket_name(&self.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            // A part of a snapshot has 8 MiB: half a minute is for slow lines, not for waiting.
            .with_config(AmazonS3ConfigKey::Client(ClientConfigKey::Timeout), "30s")
            .with_config(
                AmazonS3ConfigKey::Client(ClientConfigKey::ConnectTimeout),
                "3s",
            )
            .with_retry(retries())
    }
}

/// Few: whoever writes tries again, and decides how often.
fn retries() -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(2),
            base: 2.,
        },
        max_retries: 3,
        retry_timeout: Duration::from_secs(30),
    }
}

impl ObjectStorage {
    /// Objects in a bucket of S3, or of what speaks like it, with a runtime of their own. Nothing is sent yet: the job
    /// log's probe tells whether the bucket is there, may be written, and honours create-if-absent.
    ///
    /// # Errors
    /// [`StorageError::Bucket`] if the options can't work.
    pub fn s3(options: &S3Options) -> Result<Self, StorageError> {
        if CryptoProvider::get_default().is_none() {
            // Whoever is quicker has chosen one, which is all that is needed.
            let _ = ring::default_provider().install_default();
        }
        let failed = |source: Box<dyn std::error::Error + Send + Sync>| StorageError::Bucket {
            bucket: options.bucket.clone(),
            source,
        };
        let store = options.builder().build().map_err(|e| failed(e.into()))?;
        let runtime = NetworkRuntime::start().map_err(|e| failed(e.into()))?;
        Self::driven(Arc::new(store), &options.prefix, Drive::Network(runtime))
    }
}

/// Without the secrets.
impl fmt::Debug for S3Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("Environment"),
            Self::Given { key, .. } => write!(f, "Given({key:?})"),
        }
    }
}
