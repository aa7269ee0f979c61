//! TLS with certificates on both ends. Who connects and who listens each show one, and what isn't signed by the cluster's
//! authority is refused before a byte of Rivus's own is read.
//!
//! The names in certificates mean nothing here: a process is found by an address that its peers tell, which says nothing about who
//! it may be. Who has a certificate of the authority belongs to the cluster; so it must be an authority that signs for nobody else.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ParsedCertificate, WebPkiClientVerifier};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig,
    SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::connect::Stream;

/// What is wrong with one of the files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// The certificate.
    #[error("the certificate: {0}")]
    Certificate(String),
    /// Its key.
    #[error("the key: {0}")]
    Key(String),
    /// The authority.
    #[error("the authority: {0}")]
    Authority(String),
}

/// A certificate to show, and the authority that others' must be signed by. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    connector: TlsConnector,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads PEM files: this process's certificate, with what lies between it and the authority behind it; its key; and the
    /// authority's certificate. That they fit together is seen here, not by the first peer.
    ///
    /// # Errors
    /// What is wrong with which file.
    pub fn read(certificate: &Path, key: &Path, authority: &Path) -> Result<Self, TlsError> {
        let roots = Arc::new(read_authority(authority).map_err(TlsError::Authority)?);
        let chain = read_certificates(certificate).map_err(TlsError::Certificate)?;
        let key = PrivateKeyDer::from_pem_file(key);
        let key = key.map_err(|error| TlsError::Key(unreadable(&error)))?;
        let provider = Arc::new(ring::default_provider());

        let clients =
            WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let clients = clients.build();
        let clients = clients.map_err(|error| TlsError::Authority(error.to_string()))?;
        let servers = Arc::new(OfTheAuthority {
            roots,
            provider: Arc::clone(&provider),
        });
        check_own(&chain, &*clients, &servers)?;

        let fits = |error: rustls::Error| match error {
            rustls::Error::InconsistentKeys(_) => {
                TlsError::Key("it is not the key of the certificate".to_owned())
            }
            other => TlsError::Key(other.to_string()),
        };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TlsError::Key(error.to_string()))?
            .with_client_cert_verifier(clients)
            .with_single_cert(chain.clone(), key.clone_key())
            .map_err(fits)?;
        // Links are few and last: each begins with both certificates.
        server.send_tls13_tickets = 0;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| TlsError::Key(error.to_string()))?
            .dangerous()
            .with_custom_certificate_verifier(servers)
            .with_client_auth_cert(chain, key)
            .map_err(fits)?;
        client.resumption = Resumption::disabled();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(server)),
            connector: TlsConnector::from(Arc::new(client)),
        })
    }

    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        Ok(Box::new(self.acceptor.accept(stream).await?))
    }

    pub(crate) async fn connect(&self, stream: TcpStream) -> io::Result<Box<dyn Stream>> {
        // Said to the listener, and heeded by nobody.
        let name = ServerName::try_from("rivus").map_err(io::Error::other)?;
        Ok(Box::new(self.connector.connect(name, stream).await?))
    }
}

fn read_authority(path: &Path) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| why(&error))?;
    }
    Ok(roots)
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_file_iter(path).map_err(|error| unreadable(&error))?;
    let all: Result<Vec<_>, _> = read.collect();
    match all.map_err(|error| unreadable(&error))? {
        none if none.is_empty() => Err(unreadable(&pem::Error::NoItemsFound)),
        all => Ok(all),
    }
}

fn unreadable(error: &pem::Error) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => "there is none in the file, in PEM".to_owned(),
        other => format!("it is no PEM: {other}"),
    }
}

/// Refuses a certificate that no peer would take.
fn check_own(
    chain: &[CertificateDer<'static>],
    clients: &dyn ClientCertVerifier,
    servers: &OfTheAuthority,
) -> Result<(), TlsError> {
    let (own, between) = chain
        .split_first()
        .unwrap_or_else(|| unreachable!("it was read"));
    let now = UnixTime::now();
    let to_listeners = clients.verify_client_cert(own, between, now).map(drop);
    let to_dialers = servers.check(own, between, now);
    let refused = |error| TlsError::Certificate(refusal(&error));
    to_listeners.and(to_dialers).map_err(refused)
}

/// Takes listeners for what their certificate says, wherever they are.
#[derive(Debug)]
struct OfTheAuthority {
    roots: Arc<RootCertStore>,
    provider: Arc<CryptoProvider>,
}

impl OfTheAuthority {
    fn check(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let algorithms = self.provider.signature_verification_algorithms.all;
        let parsed = ParsedCertificate::try_from(certificate)?;
        verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, between, now, algorithms)
    }
}

impl ServerCertVerifier for OfTheAuthority {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.check(certificate, between, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("only TLS 1.3 is spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}

/// What is wrong with a certificate.
fn refusal(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => "it is not signed by the authority in tls.ca".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => "it has expired".to_owned(),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => "it is not valid yet".to_owned(),
        other => other.to_string(),
    }
}

/// What a dialer knows whose listener has closed the connection before they knew each other.
pub(crate) const BROKEN_OFF: &str = "the peer breaks the handshake off, since it doesn't take this process's certificate or \
     speaks no TLS: its log says which";

/// Why there is no conversation, in one line with the mend.
pub(crate) fn why(error: &rustls::Error) -> String {
    use rustls::Error;
    match error {
        Error::InvalidCertificate(_) => format!("the peer's certificate: {}", refusal(error)),
        Error::NoCertificatesPresented => {
            "the peer shows no certificate: give it tls.certificate and tls.key".to_owned()
        }
        Error::InvalidMessage(_) => {
            "the peer doesn't speak TLS: give all processes tls settings, or none".to_owned()
        }
        Error::AlertReceived(_) => BROKEN_OFF.to_owned(),
        other => other.to_string(),
    }
}
