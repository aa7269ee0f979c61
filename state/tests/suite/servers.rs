//! Real servers for tests: etcd, and one that speaks like S3. Each has a directory and ports of its own, and ends with
//! the test program, however that ends.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(clippy::disallowed_methods)] // A server's time is real.
#![allow(dead_code)] // Another crate's tests use this file too, each what it needs.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::{Duration, Instant};
use std::{env, thread};

use rivus_state::{Etcd, EtcdError, EtcdOptions, ObjectStorage, S3Credentials, S3Options};
use tempfile::TempDir;

use super::certificates::{Certificates, loopback};

/// What runs a server: it waits for the end of its input, which comes with our own end, and then kills the server.
const UNTIL_WE_END: &str = r#""$@" & server=$!; read -r _; kill -9 $server; wait $server"#;

struct Server {
    shell: Child,
}

impl Server {
    fn start(program: &str, arguments: &[String]) -> Self {
        let found = Command::new(program).arg("--version").output();
        assert!(found.is_ok(), "{program} is missing: ./check installs it");
        let shell = Command::new("bash")
            .args(["-c", UNTIL_WE_END, "bash", program])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { shell }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        self.shell.wait().unwrap();
    }
}

/// A directory in memory, where there is such a thing: a log of etcd that is synced a thousand times is not the point.
fn in_memory() -> TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

/// A port of [`loopback`] that no other server has: none of those that the system gives to whoever asks.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(20_000);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Tries until it works, for as long as a server may take to start.
pub fn eventually<T, E: std::fmt::Debug>(mut attempt: impl FnMut() -> Result<T, E>) -> T {
    let began = Instant::now();
    loop {
        match attempt() {
            Ok(done) => return done,
            Err(error) => assert!(began.elapsed() < Duration::from_secs(30), "{error:?}"),
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// A cluster of etcd, whose members can be killed and started again.
pub struct EtcdCluster {
    members: Vec<Option<Server>>,
    ports: Vec<[u16; 2]>,
    certificates: Option<Certificates>,
    dir: TempDir,
}

impl EtcdCluster {
    pub fn start(members: usize) -> Self {
        Self::start_with(members, None)
    }

    /// One member, which wants a client's certificate.
    pub fn start_secure(certificates: Certificates) -> Self {
        Self::start_with(1, Some(certificates))
    }

    fn start_with(members: usize, certificates: Option<Certificates>) -> Self {
        let mut cluster = Self {
            members: Vec::new(),
            ports: (0..members).map(|_| [port(), port()]).collect(),
            certificates,
            dir: in_memory(),
        };
        cluster.members.resize_with(members, || None);
        for member in 0..members {
            cluster.restart(member);
        }
        // Each by itself: most of them would do for an answer, and one that is late to learn who leads serves nobody.
        for endpoint in cluster.endpoints() {
            let etcd = Etcd::new(cluster.options_at(vec![endpoint], "unused")).unwrap();
            eventually(|| ObjectStorage::etcd(&etcd).unwrap().get("nothing"));
        }
        cluster
    }

    pub fn endpoints(&self) -> Vec<String> {
        let url = |[client, _]: &[u16; 2]| format!("{}://{}:{client}", self.scheme(), loopback());
        self.ports.iter().map(url).collect()
    }

    fn scheme(&self) -> &'static str {
        self.certificates.as_ref().map_or("http", |_| "https")
    }

    /// With a timeout for a machine that has a lot to do.
    pub fn options(&self, prefix: &str) -> EtcdOptions {
        self.options_at(self.endpoints(), prefix)
    }

    fn options_at(&self, endpoints: Vec<String>, prefix: &str) -> EtcdOptions {
        let options = EtcdOptions::new(endpoints)
            .prefix(prefix)
            .timeout(Duration::from_secs(10));
        match &self.certificates {
            None => options,
            Some(made) => options
                .ca(made.file("ca.pem"))
                .certificate(made.file("client.pem"), made.file("client.key")),
        }
    }

    pub fn certificates(&self) -> &Certificates {
        self.certificates.as_ref().unwrap()
    }

    /// Starts a member, with the data it had.
    pub fn restart(&mut self, member: usize) {
        let peer = |port: u16| format!("http://{}:{port}", loopback());
        let peers = self.ports.iter().enumerate();
        let peers: Vec<_> = peers
            .map(|(index, [_, port])| format!("m{index}={}", peer(*port)))
            .collect();
        let [client_port, peer_port] = self.ports[member];
        let data = self.dir.path().join(format!("m{member}"));
        let client = format!("{}://{}:{client_port}", self.scheme(), loopback());
        let mut arguments = vec![
            format!("--name=m{member}"),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={}", peer(peer_port)),
            format!("--initial-advertise-peer-urls={}", peer(peer_port)),
            format!("--initial-cluster={}", peers.join(",")),
            "--heartbeat-interval=50".to_owned(),
            "--election-timeout=500".to_owned(),
        ];
        if let Some(made) = &self.certificates {
            arguments.extend([
                format!("--cert-file={}", made.file("server.pem").display()),
                format!("--key-file={}", made.file("server.key").display()),
                format!("--trusted-ca-file={}", made.file("ca.pem").display()),
                "--client-cert-auth".to_owned(),
            ]);
        }
        self.members[member] = Some(Server::start("etcd", &arguments));
    }

    /// Has etcd's own tool do something.
    pub fn ctl(&self, arguments: &str) {
        let endpoints = format!("--endpoints={}", self.endpoints().join(","));
        let mut ctl = Command::new("etcdctl");
        ctl.arg(endpoints).args(arguments.split(' '));
        let done = ctl
            .output()
            .expect("etcdctl is missing: ./check installs it");
        assert!(done.status.success(), "{arguments}: {done:?}");
    }

    pub fn kill(&mut self, member: usize) {
        self.members[member] = None;
    }
}

/// An etcd of one member that all tests of this program share, each below a prefix of its own.
pub fn etcd() -> EtcdOptions {
    static SHARED: OnceLock<EtcdCluster> = OnceLock::new();
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    let prefix = PREFIXES.fetch_add(1, Ordering::Relaxed);
    let cluster = SHARED.get_or_init(|| EtcdCluster::start(1));
    cluster.options(&format!("tests/{prefix}"))
}

/// The connection to it that is shared too: most tests don't care.
pub fn connected() -> Result<Etcd, EtcdError> {
    Etcd::new(etcd())
}

/// The port of a server that speaks like S3, with buckets `state` and `forgetful`, that all tests of this program share.
fn s3_port() -> u16 {
    static SHARED: OnceLock<(Child, u16)> = OnceLock::new();
    let start = || {
        let cache = env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| {
                PathBuf::from(env::var_os("HOME").unwrap_or_default()).join(".cache")
            });
        let python = cache.join("rivus/moto/bin/python");
        assert!(
            python.exists(),
            "{} is missing: ./check installs it",
            python.display()
        );
        let script = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .ancestors()
            .map(|room| room.join("scripts/s3_server.py"))
            .find(|script| script.exists())
            .unwrap();
        // It ends when its input does, which we hold.
        let mut server = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = String::new();
        let mut says = BufReader::new(server.stdout.take().unwrap());
        says.read_line(&mut said).unwrap();
        let port = said.trim().parse();
        (server, port.expect("the S3 server of the tests starts"))
    };
    SHARED.get_or_init(start).1
}

/// Where it is.
pub fn s3_endpoint() -> String {
    format!("http://127.0.0.1:{}", s3_port())
}

/// A bucket of it, below a prefix that no other test has.
pub fn s3(bucket: &str) -> S3Options {
    static PREFIXES: AtomicU32 = AtomicU32::new(0);
    let prefix = PREFIXES.fetch_add(1, Ordering::Relaxed);
    s3_below(bucket, &format!("tests/{prefix}"))
}

/// A bucket of it, below a prefix.
pub fn s3_below(bucket: &str, prefix: &str) -> S3Options {
    S3Options::new(bucket)
        .prefix(prefix)
        .endpoint(s3_endpoint())
        .region("us-east-1")
        .credentials(S3Credentials::Given {
            key: "tests".to_owned(),
            secret: "no secret".to_owned(),
            token: None,
        })
}
