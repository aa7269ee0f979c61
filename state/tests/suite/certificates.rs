//! Certificates for tests, made by openssl.
#![allow(clippy::unwrap_used)] // Helpers of tests are tests.
#![allow(dead_code)] // Others' tests and a benchmark use this file too, each what it needs.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{self, Command};

use tempfile::TempDir;

/// An address of this host that no other process's servers have: what they get follows from the process's number, which
/// has 22 bits.
pub fn loopback() -> Ipv4Addr {
    let [_, high, middle, low] = process::id().to_be_bytes();
    Ipv4Addr::new(127, 64 + high % 64, middle, low)
}

/// PEM files, made anew, of an authority, a server on this host, and a client.
pub struct Certificates {
    dir: TempDir,
}

impl Certificates {
    pub fn make() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let openssl = |arguments: &str| {
            let mut command = Command::new("openssl");
            command.current_dir(dir.path()).args(arguments.split(' '));
            let made = command.output().expect("openssl is installed");
            assert!(made.status.success(), "{arguments}: {made:?}");
        };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
        openssl(&format!(
            "req -x509 {key} -subj /CN=authority -days 2 -keyout ca.key -out ca.pem"
        ));
        let names = format!("subjectAltName=IP:127.0.0.1,IP:{}", loopback());
        std::fs::write(dir.path().join("san"), names).unwrap();
        for name in ["server", "client"] {
            openssl(&format!(
                "req {key} -subj /CN={name} -keyout {name}.key -out {name}.csr"
            ));
            openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 \
                 -extfile san -out {name}.pem"
            ));
        }
        Self { dir }
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}
