//! Links within TLS: certificates of one authority, of another, of none.

use std::io::Write;
use std::sync::{Arc, Mutex};

use rivus_wire::{Secret, Tls, TlsError};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tracing::subscriber::DefaultGuard;

use crate::certificates::Certificates;
use crate::live::{Heard, calling, dial, echoed, listen};

fn tls(of: &Certificates, name: &str) -> Tls {
    let [certificate, key] = ["pem", "key"].map(|kind| of.file(&format!("{name}.{kind}")));
    Tls::read(&certificate, &key, &of.file("ca.pem")).expect("fits together")
}

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0
            .lock()
            .expect("no test panics with it")
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    /// The lines that there are when there is one.
    async fn lines(&self) -> Vec<String> {
        for _ in 0..400 {
            let said = String::from_utf8(self.0.lock().expect("no test panics with it").clone());
            let said = said.expect("is text");
            if said.ends_with('\n') {
                return said.lines().map(str::to_owned).collect();
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        panic!("nothing was logged");
    }
}

#[tokio::test]
async fn frames_cross_between_two_with_certificates_of_one_authority() {
    let ours = Certificates::make();
    for secret in [Secret::none(), Secret::new(b"ours")] {
        let with = |name| (secret.clone(), tls(&ours, name));
        let (address, _there) = listen(with("server")).await;
        // Larger than a record of TLS.
        echoed(calling(address, with("client"), b"echo"), &"a".repeat(900)).await;
    }
}

#[tokio::test]
async fn a_secret_is_wanted_beside_a_certificate_if_there_is_one() {
    let ours = Certificates::make();
    let (address, _there) = listen((Secret::new(b"ours"), tls(&ours, "server"))).await;
    let called = dial(calling(
        address,
        (Secret::none(), tls(&ours, "client")),
        b"echo",
    ))
    .await;
    assert!(called.err().unwrap().contains("another secret"));
}

/// What a listener logs of a peer that it drops, and nothing but that.
async fn dropped(log: &Log, why: &str) {
    let lines = log.lines().await;
    let [line] = lines.as_slice() else {
        panic!("one line: {lines:?}");
    };
    assert!(line.contains("a peer is dropped peer=127.0.0.1:"), "{line}");
    assert!(line.contains(why), "{line}");
}

#[tokio::test]
async fn a_foreign_certificate_no_tls_and_another_secret_are_refused_with_a_line_on_both_ends() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let plain = || (Secret::none(), None);
    let with = |of, name| (Secret::none(), Some(tls(of, name)));
    let broken_off = "the peer breaks the handshake off";
    let foreign = "it is not signed by the authority in tls.ca";
    let table = [
        // The listener's, the dialer's, what the listener logs, what the dialer is told.
        (
            with(&ours, "server"),
            with(&theirs, "client"),
            broken_off,
            foreign,
        ),
        (
            with(&ours, "server"),
            plain(),
            "the peer doesn't speak TLS",
            "the peer speaks TLS, and this process doesn't",
        ),
        (
            plain(),
            with(&ours, "client"),
            "the peer speaks TLS, and this process doesn't",
            broken_off,
        ),
        (
            (Secret::new(b"ours"), None),
            (Secret::new(b"theirs"), None),
            "hung up before it had proved that it knows the secret",
            "the peer has another secret",
        ),
    ];
    for (listener, dialer, logged, told) in table {
        let (log, _listens) = Log::listen();
        let (address, mut there) = listen(listener).await;
        let called = dial(calling(address, dialer, b"echo")).await;
        let refused = called.err().unwrap();
        assert!(refused.contains(told), "{refused}");
        dropped(&log, logged).await;
        assert!(there.try_recv().is_err(), "nobody came in");
    }
}

#[tokio::test]
async fn a_listener_drops_whoever_is_foreign_or_shows_nothing_and_goes_on() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let (address, mut there) = listen((Secret::none(), tls(&ours, "server"))).await;

    // One that takes the listener for what it is, and has nothing to show.
    let mut roots = RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(ours.file("ca.pem")).unwrap())
        .unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let silent = ClientConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let (log, listens) = Log::listen();
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connected = TlsConnector::from(Arc::new(silent))
        .connect(name, stream)
        .await;
    // A client of TLS 1.3 has done its part before it is refused.
    if let Ok(mut stream) = connected {
        let _ = stream.write_all(b"\x05\0\0\0rivus").await;
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said).await;
        assert_eq!(said, b"");
    }
    dropped(
        &log,
        "the peer shows no certificate: give it tls.certificate and tls.key",
    )
    .await;
    drop(listens);

    // One of an authority that takes ours for its own, and isn't ours.
    let (log, listens) = Log::listen();
    let [certificate, key] = ["client.pem", "client.key"].map(|file| theirs.file(file));
    let both = ours.file("both.pem");
    let authorities = [ours.file("ca.pem"), theirs.file("ca.pem")];
    let authorities = authorities
        .map(|file| std::fs::read(file).unwrap())
        .concat();
    std::fs::write(&both, authorities).unwrap();
    let trusting = Tls::read(&certificate, &key, &both).unwrap();
    let called = dial(calling(address, (Secret::none(), trusting), b"echo")).await;
    let refused = called.err().unwrap();
    assert!(
        refused.contains("the peer breaks the handshake off"),
        "{refused}"
    );
    dropped(
        &log,
        "the peer's certificate: it is not signed by the authority in tls.ca",
    )
    .await;
    drop(listens);

    assert!(there.try_recv().is_err(), "nobody came in");
    let friend = calling(address, (Secret::none(), tls(&ours, "client")), b"echo");
    echoed(friend, "all well").await;
    assert_eq!(there.recv().await, Some(Heard::Frame("all well".into())));
}

#[test]
fn files_that_do_not_fit_together_are_refused_before_anybody_connects() {
    let (ours, theirs) = (Certificates::make(), Certificates::make());
    let text = ours.file("san");
    let read = |certificate, key, authority| Tls::read(certificate, key, authority).unwrap_err();
    let [pem, key, ca] = ["client.pem", "client.key", "ca.pem"].map(|file| ours.file(file));
    let nowhere = ours.file("nowhere");
    let table = [
        (
            read(&pem, &key, &theirs.file("ca.pem")),
            TlsError::Certificate("it is not signed by the authority in tls.ca".to_owned()),
        ),
        (
            read(&pem, &theirs.file("client.key"), &ca),
            TlsError::Key("it is not the key of the certificate".to_owned()),
        ),
        (
            read(&text, &key, &ca),
            TlsError::Certificate("there is none in the file, in PEM".to_owned()),
        ),
        (
            read(&pem, &text, &ca),
            TlsError::Key("there is none in the file, in PEM".to_owned()),
        ),
        (
            read(&pem, &key, &nowhere),
            TlsError::Authority("No such file or directory (os error 2)".to_owned()),
        ),
    ];
    for (told, expected) in table {
        assert_eq!(told, expected);
    }
}
