//! An election in etcd.
//!
//! ```text
//! <prefix>/election/leader    who leads, in which term; there as long as its lease is
//! <prefix>/election/term      the greatest term that was won; only grows
//! ```
//!
//! - **A term is won by a transaction** that finds no leader (`create_revision == 0`), or our own earlier life unchanged,
//!   and the term as it was; it writes both keys, the leader's with a lease.
//! - **A renewal is one call that keeps the lease alive**, behind one that looks whether we are still the leader. No task keeps
//!   it alive in the background: a process that does not come to renew shall lose it.
//! - A lease that ran out took the leader's key with it. If the term is still ours, nobody else has campaigned: a
//!   renewal puts the key back.
//! - A transaction that timed out may have been carried out. The lease in the leader's key is as good as a nonce: if it is
//!   ours, we have won.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, Error, KeyValue, LeaseGrantResponse, PutOptions, Txn, TxnOp, TxnOpResponse,
};
use serde::{Deserialize, Serialize};

use super::{Campaign, Candidate, Election, ElectionError, Leader, Renewal};
use crate::etcd::{Etcd, EtcdError};

/// An election among processes anywhere, in a cluster of etcd. Whoever shares the prefix contends.
///
/// Leases are etcd's: they last whole seconds, and at least about two elections of etcd's own.
///
/// ```no_run
/// use rivus_state::{Candidate, Election, Etcd, EtcdElection, EtcdOptions};
/// use std::time::Duration;
///
/// let etcd = Etcd::new(EtcdOptions::new(["http://127.0.0.1:2379"]))?;
/// let election = EtcdElection::new(etcd, Duration::from_secs(10));
/// let [address, commands] = ["a.example:7000", "a.example:7878"].map(String::from);
/// let candidate = Candidate { name: "a".into(), address, commands };
/// let campaign = election.campaign(&candidate, Duration::ZERO)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct EtcdElection {
    etcd: Etcd,
    lease: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The candidates of this process that lead, or have not heard yet that they do no more.
    led: BTreeMap<String, Led>,
    /// The greatest term that was heard of.
    heard_of: u64,
}

#[derive(Debug, Clone)]
struct Led {
    held: Held,
    lease: i64,
}

/// What the leader's key says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    term: u64,
    #[serde(flatten)]
    candidate: Candidate,
}

/// Both keys, as they were at one moment.
struct Seen {
    leader: Option<SeenLeader>,
    term: u64,
    /// 0 if there is none.
    term_revision: i64,
}

struct SeenLeader {
    held: Held,
    revision: i64,
    lease: i64,
}

impl EtcdElection {
    /// The election below the connection's prefix. Nothing is sent before the first campaign.
    pub fn new(etcd: Etcd, lease: Duration) -> Self {
        Self {
            etcd,
            lease,
            state: Mutex::default(),
        }
    }

    /// What a panic may leave out is a term that was won and not told, whose lease runs out.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run<T: Send>(
        &self,
        who: &str,
        calls: impl Future<Output = Result<T, EtcdError>> + Send,
    ) -> Result<T, ElectionError> {
        self.etcd.run(calls).map_err(|source| ElectionError::Etcd {
            who: who.to_owned(),
            source,
        })
    }

    fn leader_key(&self) -> String {
        format!("{}/election/leader", self.etcd.prefix())
    }

    fn term_key(&self) -> String {
        format!("{}/election/term", self.etcd.prefix())
    }

    async fn txn(&self, txn: Txn) -> Result<(bool, Seen), EtcdError> {
        let (leader, term) = (self.leader_key(), self.term_key());
        let look = || {
            [
                TxnOp::get(leader.clone(), None),
                TxnOp::get(term.clone(), None),
            ]
        };
        let txn = txn.or_else(look());
        let done = self.etcd.call(|mut client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        });
        let done = done.await?;
        let mut seen = Seen {
            leader: None,
            term: 0,
            term_revision: 0,
        };
        for response in done.op_responses() {
            let TxnOpResponse::Get(mut found) = response else {
                continue;
            };
            for key_value in found.take_kvs() {
                self.see(&mut seen, &key_value)?;
            }
        }
        Ok((done.succeeded(), seen))
    }

    fn see(&self, seen: &mut Seen, found: &KeyValue) -> Result<(), EtcdError> {
        let key = String::from_utf8_lossy(found.key()).into_owned();
        let strange = |source| EtcdError::Content {
            key: key.clone(),
            source,
        };
        if found.key() == self.term_key().as_bytes() {
            seen.term = serde_json::from_slice(found.value()).map_err(strange)?;
            seen.term_revision = found.mod_revision();
        } else {
            seen.leader = Some(SeenLeader {
                held: serde_json::from_slice(found.value()).map_err(strange)?,
                revision: found.mod_revision(),
                lease: found.lease(),
            });
        }
        Ok(())
    }

    /// Both keys at this moment: a transaction that can't succeed looks at them.
    async fn look(&self) -> Result<Seen, EtcdError> {
        let never = Compare::create_revision(self.term_key(), CompareOp::Less, 0);
        Ok(self.txn(Txn::new().when([never])).await?.1)
    }

    async fn grant(&self) -> Result<i64, EtcdError> {
        let seconds = self.lease.as_secs() + u64::from(self.lease.subsec_nanos() > 0);
        let ttl = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        let granted: LeaseGrantResponse = self
            .etcd
            .call(|mut client| async move { client.lease_grant(ttl, None).await })
            .await?;
        Ok(granted.id())
    }

    /// Ends a lease, and with it what hangs on it. That it has ended already is fine.
    async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        let revoked = self.etcd.call(|mut client| async move {
            match client.lease_revoke(lease).await {
                Err(error) if is_unknown_lease(&error) => Ok(()),
                other => other.map(drop),
            }
        });
        revoked.await
    }

    /// Whether the lease was still there to be kept alive.
    async fn keep_alive(&self, lease: i64) -> Result<bool, EtcdError> {
        let kept = self.etcd.call(|mut client| async move {
            match client.lease_keep_alive(lease).await {
                Err(Error::LeaseKeepAliveError(_)) => Ok(false),
                Err(error) if is_unknown_lease(&error) => Ok(false),
                other => other.map(|_| true),
            }
        });
        kept.await
    }

    /// Puts the leader's key where `unchanged` holds, with a new lease; `None` if something has changed.
    async fn put(&self, held: &Held, unchanged: &[Compare]) -> Result<Option<Led>, EtcdError> {
        let lease = self.grant().await?;
        let led = Led {
            held: held.clone(),
            lease,
        };
        let value = serde_json::to_vec(held).map_err(|source| EtcdError::Content {
            key: self.leader_key(),
            source,
        })?;
        let options = PutOptions::new().with_lease(lease);
        let put = [
            TxnOp::put(self.leader_key(), value, Some(options)),
            TxnOp::put(self.term_key(), held.term.to_string(), None),
        ];
        let (done, seen) = self.txn(Txn::new().when(unchanged).and_then(put)).await?;
        if done || seen.leader.is_some_and(|leader| leader.lease == lease) {
            return Ok(Some(led));
        }
        self.revoke(lease).await?;
        Ok(None)
    }

    async fn try_to_lead(
        &self,
        candidate: &Candidate,
        heard_of: u64,
    ) -> Result<Result<Led, Leader>, EtcdError> {
        loop {
            let seen = self.look().await?;
            let leader = Compare::mod_revision(
                self.leader_key(),
                CompareOp::Equal,
                seen.leader.as_ref().map_or(0, |leader| leader.revision),
            );
            let term = Compare::mod_revision(self.term_key(), CompareOp::Equal, seen.term_revision);
            let held = Held {
                term: seen.term.max(heard_of) + 1,
                candidate: candidate.clone(),
            };
            match seen.leader {
                Some(leader) if leader.held.candidate.name != candidate.name => {
                    return Ok(Err(leader.held.into_leader()));
                }
                // An earlier life of ours: its lease ends, after the key hangs on the new one.
                Some(earlier) => {
                    if let Some(led) = self.put(&held, &[leader, term]).await? {
                        self.revoke(earlier.lease).await?;
                        return Ok(Ok(led));
                    }
                }
                None => {
                    let absent = Compare::create_revision(self.leader_key(), CompareOp::Equal, 0);
                    if let Some(led) = self.put(&held, &[absent, term]).await? {
                        return Ok(Ok(led));
                    }
                }
            }
        }
    }

    /// Keeps what is led; `Err` tells who leads instead.
    async fn try_to_renew(&self, led: &Led) -> Result<Result<Led, Seen>, EtcdError> {
        let seen = self.look().await?;
        match &seen.leader {
            Some(leader) if leader.held != led.held => return Ok(Err(seen)),
            Some(leader) if self.keep_alive(leader.lease).await? => {
                return Ok(Ok(Led {
                    held: led.held.clone(),
                    lease: leader.lease,
                }));
            }
            // It ran out just now, or some time ago.
            Some(_) | None => {}
        }
        if seen.term != led.held.term {
            return Ok(Err(seen));
        }
        let unchanged = [
            Compare::create_revision(self.leader_key(), CompareOp::Equal, 0),
            Compare::mod_revision(self.term_key(), CompareOp::Equal, seen.term_revision),
        ];
        match self.put(&led.held, &unchanged).await? {
            Some(led) => Ok(Ok(led)),
            None => Ok(Err(self.look().await?)),
        }
    }
}

impl Held {
    fn into_leader(self) -> Leader {
        Leader {
            term: self.term,
            candidate: self.candidate,
        }
    }
}

impl Election for EtcdElection {
    fn campaign(&self, candidate: &Candidate, now: Duration) -> Result<Campaign, ElectionError> {
        let heard_of = self.state().heard_of;
        let result = self.run(&candidate.name, self.try_to_lead(candidate, heard_of))?;
        Ok(match result {
            Ok(led) => {
                let term = led.held.term;
                self.state().led.insert(candidate.name.clone(), led);
                Campaign::Leading { term }
            }
            Err(leader) => Campaign::Following {
                until: now + self.lease,
                leader,
            },
        })
    }

    fn renew(&self, candidate: &str, term: u64, now: Duration) -> Result<Renewal, ElectionError> {
        let led = self.state().led.get(candidate).cloned();
        let result = match led.filter(|led| led.held.term == term) {
            Some(led) => self.run(candidate, self.try_to_renew(&led))?,
            None => Err(self.run(candidate, self.look())?),
        };
        Ok(match result {
            Ok(led) => {
                self.state().led.insert(candidate.to_owned(), led);
                let until = now + self.lease;
                Renewal::Renewed { until }
            }
            Err(seen) => Renewal::Lost {
                term: seen.term,
                leader: seen.leader.map(|leader| leader.held.candidate.name),
            },
        })
    }

    fn observe(&self, term: u64) {
        let mut state = self.state();
        state.heard_of = state.heard_of.max(term);
    }

    fn resign(&self, candidate: &str, term: u64) -> Result<(), ElectionError> {
        let led = {
            let mut state = self.state();
            let led = state.led.get(candidate);
            if led.is_none_or(|led| led.held.term != term) {
                return Ok(());
            }
            state.led.remove(candidate)
        };
        match led {
            // The key goes with its lease, unless another has put it since: with a lease of its own.
            Some(led) => self.run(candidate, self.revoke(led.lease)),
            None => Ok(()),
        }
    }

    fn leader(&self) -> Result<Option<Leader>, ElectionError> {
        let seen = self.run("a client", self.look())?;
        Ok(seen.leader.map(|leader| leader.held.into_leader()))
    }
}

fn is_unknown_lease(error: &Error) -> bool {
    matches!(error, Error::GRpcStatus(status) if status.message().contains("lease not found"))
}
