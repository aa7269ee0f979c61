//! Which TaskManagers of other processes are connected to this one's leader, by name. A name has one place: who comes under a name that
//! another process has, and whose link is alive, is refused. If it took the place, as a next life does, the other would come back and take it
//! again, and neither would ever get on. The next leader knows of no places: there whoever was refused for its name lets the other go first (`refused.rs`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use rivus_core::{Incarnation, TaskManagerId};
use rivus_wire::Refusal;

/// The places that are taken.
#[derive(Default)]
pub(super) struct Places(Arc<Mutex<Taken>>);

#[derive(Default)]
struct Taken {
    by_name: BTreeMap<TaskManagerId, Holder>,
    /// How many there have been.
    count: u64,
}

struct Holder {
    life: Incarnation,
    peer: SocketAddr,
    number: u64,
}

/// A place that a link holds as long as this is there.
pub(super) struct Place {
    taken: Arc<Mutex<Taken>>,
    id: TaskManagerId,
    number: u64,
}

impl Places {
    /// Whether a life of a TaskManager may have the place of its name. One that has it already and connects again may.
    pub(super) fn check(&self, id: &TaskManagerId, life: Incarnation) -> Result<(), Refusal> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match taken.by_name.get(id) {
            Some(holder) if holder.life != life => Err(refusal(id, holder.peer)),
            _ => Ok(()),
        }
    }

    /// Takes the place of a name.
    pub(super) fn take(
        &self,
        id: &TaskManagerId,
        life: Incarnation,
        peer: SocketAddr,
    ) -> Result<Place, Refusal> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.count += 1;
        let number = taken.count;
        match taken.by_name.get(id) {
            Some(holder) if holder.life != life => return Err(refusal(id, holder.peer)),
            _ => taken
                .by_name
                .insert(id.clone(), Holder { life, peer, number }),
        };
        Ok(Place {
            taken: Arc::clone(&self.0),
            id: id.clone(),
            number,
        })
    }
}

fn refusal(id: &TaskManagerId, peer: SocketAddr) -> Refusal {
    // "left/tm-0" is the only TaskManager of the process "left".
    let name = id.0.split('/').next().unwrap_or_default();
    Refusal::Taken(format!(
        "the name {name} is taken by a TaskManager whose link from {peer} is alive: give each its own --name"
    ))
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let is_ours = taken.by_name.get(&self.id).map(|holder| holder.number) == Some(self.number);
        if is_ours {
            taken.by_name.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_name_is_free_again_when_the_last_link_of_its_life_is_closed() {
        let places = Places::default();
        let left = TaskManagerId("left/tm-0".to_owned());
        let [first, second] = [1, 2].map(|n| Incarnation(Uuid::from_u128(n)));
        let peer: SocketAddr = "10.0.0.1:40000".parse().unwrap();
        let refused = "the name left is taken by a TaskManager whose link from 10.0.0.1:40000 is alive: \
                       give each its own --name";
        let refused = Refusal::Taken(refused.to_owned());
        let take = |life| places.take(&left, life, peer);

        let old = take(first).unwrap();
        assert_eq!(places.check(&left, second), Err(refused.clone()));
        assert_eq!(take(second).err(), Some(refused.clone()));
        // The same life over another link, while the old one is not known to be gone.
        places.check(&left, first).unwrap();
        let new = take(first).unwrap();
        drop(old);
        assert_eq!(places.check(&left, second), Err(refused));
        drop(new);
        places.check(&left, second).unwrap();
        assert!(take(second).is_ok());
        let right = TaskManagerId("right/tm-0".to_owned());
        assert!(places.take(&right, first, peer).is_ok());
    }
}
