//! How a cluster of etcd is reached.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use etcd_client::{Certificate, ConnectOptions, Identity, TlsOptions};

use super::error::EtcdError;

/// How a cluster of etcd is reached, and where in it everything lies.
///
/// ```
/// use rivus_state::EtcdOptions;
/// use std::time::Duration;
///
/// let options = EtcdOptions::new(["http://127.0.0.1:2379"])
///     .prefix("rivus/test")
///     .timeout(Duration::from_secs(1))
///     .user("rivus", "secret");
/// assert!(!format!("{options:?}").contains("secret"));
/// ```
#[derive(Clone)]
pub struct EtcdOptions {
    pub(super) endpoints: Vec<String>,
    pub(super) prefix: String,
    pub(super) timeout: Duration,
    user: Option<(String, String)>,
    ca: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
}

impl EtcdOptions {
    /// The members' client URLs, `http://` or `https://`, as many of them as are known.
    pub fn new(endpoints: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            prefix: "rivus".to_owned(),
            timeout: Duration::from_secs(1),
            user: None,
            ca: None,
            certificate: None,
        }
    }

    /// What all keys begin with; `rivus` if nothing is given. Who shares it shares logs and leader.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a call may take; a second if nothing is given. A leader's lease should last three times as long.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Who we are. The user's role must allow reading and writing all keys below the prefix.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.user = Some((name.into(), password.into()));
        self
    }

    /// A PEM file with the authorities that the members' certificates are signed by. For `https://` it must be given.
    #[must_use]
    pub fn ca(mut self, file: impl Into<PathBuf>) -> Self {
        self.ca = Some(file.into());
        self
    }

    /// PEM files with our certificate and its key, where the members want one.
    #[must_use]
    pub fn certificate(mut self, file: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Self {
        self.certificate = Some((file.into(), key.into()));
        self
    }

    pub(super) fn user_name(&self) -> String {
        match &self.user {
            Some((name, _)) => format!("the user {name:?}"),
            None => "who has no name".to_owned(),
        }
    }

    /// Refuses what can't work, and reads the certificates.
    pub(super) fn check(&self) -> Result<ConnectOptions, EtcdError> {
        let refuse = |problem: String| Err(EtcdError::Options { problem });
        let Some(first) = self.endpoints.first() else {
            return refuse("it has no endpoint: give the members' client URLs".to_owned());
        };
        let secure = |endpoint: &String| endpoint.starts_with("https://");
        let plain = |endpoint: &&String| !secure(endpoint) && !endpoint.starts_with("http://");
        if let Some(endpoint) = self.endpoints.iter().find(plain) {
            return refuse(format!(
                "the endpoint {endpoint:?} is no URL: write http://{endpoint} or https://{endpoint}"
            ));
        }
        if let Some(other) = self.endpoints.iter().find(|e| secure(e) != secure(first)) {
            return refuse(format!(
                "of the endpoints {first:?} and {other:?} one is secure and one is not: choose"
            ));
        }
        if self.timeout.is_zero() {
            return refuse("the timeout is 0: give more".to_owned());
        }
        if self.prefix.is_empty() || self.prefix.split('/').any(str::is_empty) {
            return refuse(format!(
                "the prefix {:?} has an empty part: give one such as \"rivus\"",
                self.prefix
            ));
        }
        // One that doesn't answer at all must leave time for the others.
        let connect_timeout = self.timeout / (self.endpoints.len() as u32 + 1);
        let mut connect = ConnectOptions::new()
            .with_connect_timeout(connect_timeout)
            .with_require_leader(true);
        if let Some((name, password)) = &self.user {
            connect = connect
                .with_user(name, password)
                .with_auto_token_refresh(true);
        }
        match (secure(first), &self.ca) {
            (true, Some(ca)) => Ok(connect.with_tls(self.tls(ca)?)),
            (true, None) => refuse(format!(
                "{first} is secure, and nothing says whom to trust: give .ca(\"ca.pem\")"
            )),
            (false, _) if self.ca.is_some() || self.certificate.is_some() => refuse(format!(
                "{first} is not secure, and a certificate is given: write https://, or leave it out"
            )),
            (false, _) => Ok(connect),
        }
    }

    fn tls(&self, ca: &Path) -> Result<TlsOptions, EtcdError> {
        let tls = TlsOptions::new().ca_certificate(Certificate::from_pem(read(ca)?));
        match &self.certificate {
            Some((certificate, key)) => {
                Ok(tls.identity(Identity::from_pem(read(certificate)?, read(key)?)))
            }
            None => Ok(tls),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, EtcdError> {
    fs::read(path).map_err(|source| EtcdError::File {
        path: path.to_owned(),
        source,
    })
}

/// Without the password.
impl std::fmt::Debug for EtcdOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EtcdOptions")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("user", &self.user.as_ref().map(|(name, _)| name))
            .field("ca", &self.ca)
            .field("certificate", &self.certificate)
            .finish()
    }
}
