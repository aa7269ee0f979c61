use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;
use crate::codec;
use crate::snapshot::WrittenStates;

/// The state as it was.
mod before {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    pub struct Session {
        pub started: i64,
        pub pages: Vec<Page>,
        pub gone: String,
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub struct Page {
        pub path: String,
        pub times: u32,
        pub how: How,
    }

    #[derive(Debug, Clone, Serialize, Deserialize)]
    pub enum How {
        Typed,
        Linked { from: String },
    }
}

fn session() -> before::Session {
    let page = |path: &str, how| before::Page {
        path: path.to_owned(),
        times: 3,
        how,
    };
    let from = "/".to_owned();
    before::Session {
        started: 7,
        pages: vec![
            page("/", before::How::Typed),
            page("/a", before::How::Linked { from }),
        ],
        gone: "gone".to_owned(),
    }
}

/// The session as another version of the program reads it.
fn read_as<New: DeserializeOwned>(migrations: &Migrations) -> Result<New, String> {
    let mut body = codec::encode(&"key").unwrap();
    codec::encode_into(&session(), &mut body).unwrap();
    let (written, own) = (
        Schema::of::<(String, before::Session)>(),
        Schema::of::<(String, New)>(),
    );
    // As it comes back from where it was stored.
    let written: Schema = codec::decode(&codec::encode(&written).unwrap()).unwrap();
    let migrations = migrations.of(&"sessions".into());
    let body = match Evolution::of_rows(&written, &own, migrations)? {
        Some(evolution) => evolution.row(&body)?,
        None => body,
    };
    let mut body = &body[..];
    let key: String = codec::decode_prefix(&mut body).unwrap();
    assert_eq!(key, "key");
    let value = codec::decode_prefix(&mut body);
    value.map_err(|error| format!("{:#}", anyhow_like(&error)))
}

fn anyhow_like(error: &dyn std::error::Error) -> String {
    let source = error.source().map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn fields_come_and_go_numbers_grow_and_values_become_options() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Session {
        #[serde(default)]
        user: Option<String>,
        pages: Vec<Page>,
        started: Option<i64>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Page {
        how: How,
        times: u64,
        path: String,
        #[serde(default = "seven")]
        weight: u8,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum How {
        Guessed,
        Linked {
            from: String,
            #[serde(default)]
            anchor: String,
        },
        Typed,
    }
    fn seven() -> u8 {
        7
    }
    let page = |path: &str, how| Page {
        how,
        times: 3,
        path: path.to_owned(),
        weight: 7,
    };
    let linked = How::Linked {
        from: "/".to_owned(),
        anchor: String::new(),
    };
    let expected = Session {
        user: None,
        pages: vec![page("/", How::Typed), page("/a", linked)],
        started: Some(7),
    };
    assert_eq!(read_as::<Session>(&Migrations::default()), Ok(expected));
}

#[test]
fn what_cannot_be_read_is_named() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Narrow {
        started: i32,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Renamed {
        pages: Vec<String>,
    }
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Needs {
        started: i64,
        user: String,
    }
    let none = Migrations::default();
    let refused = read_as::<Narrow>(&none).unwrap_err();
    assert_eq!(refused, "field \"started\" of Session was i64 and is i32");
    let refused = read_as::<Renamed>(&none).unwrap_err();
    assert_eq!(refused, "field \"pages\" of Session was Page and is String");
    let refused = read_as::<Needs>(&none).unwrap_err();
    assert!(refused.contains("missing field `user`"), "{refused}");
}

#[test]
fn a_migration_takes_what_was_and_gives_what_is_wherever_it_stands() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Session {
        started: i64,
        pages: Vec<String>,
    }
    let mut migrations = Migrations::default();
    let text = |page: before::Page| format!("{}x{}", page.path, page.times);
    migrations.add(None, "Page", text).unwrap();
    let read = read_as::<Session>(&migrations).unwrap();
    assert_eq!(read.pages, ["/x3", "/ax3"]);
}

/// A type in three versions, whose second says in milliseconds what the first said in seconds.
mod versions {
    pub mod first {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub struct Total {
            pub sum: u32,
        }
    }
    pub mod second {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        pub struct Total {
            pub sum: u64,
            pub count: u32,
        }
    }
    pub mod third {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct Total {
            pub sum: u64,
            pub count: u32,
            #[serde(default)]
            pub new: bool,
        }
    }
}

/// A state as the third version reads it, with the functions from the first to the second and to the third.
fn third<T: Serialize + DeserializeOwned>(written: &T) -> Result<versions::third::Total, String> {
    use versions::{first, third};
    let mut migrations = Migrations::default();
    let from_first = |old: first::Total| third::Total {
        sum: 1_000 * u64::from(old.sum),
        count: 1,
        new: true,
    };
    migrations.add(None, "Total", from_first).unwrap();
    let (written, bytes) = (Schema::of::<T>(), codec::encode(written).unwrap());
    let own = Schema::of::<third::Total>();
    let evolution = Evolution::of_value(&written, &own, migrations.of(&"sums".into()))?;
    let bytes = match evolution {
        Some(evolution) => evolution.value(&bytes)?,
        None => bytes,
    };
    codec::decode(&bytes).map_err(|error| error.to_string())
}

#[test]
fn a_function_is_for_the_form_that_it_takes_and_for_no_later_one() {
    use versions::{first, second, third};
    let read = |sum, count, new| Ok(third::Total { sum, count, new });
    assert_eq!(third(&first::Total { sum: 2 }), read(2_000, 1, true));
    let second = second::Total {
        sum: 2_000,
        count: 1,
    };
    assert_eq!(third(&second), read(2_000, 1, false));
    let as_it_is = third::Total {
        sum: 7,
        count: 1,
        new: true,
    };
    assert_eq!(third(&as_it_is), read(7, 1, true));
}

#[test]
fn a_form_that_a_function_could_nearly_take_is_refused() {
    #[derive(Serialize, Deserialize)]
    struct Total {
        sum: u32,
        by: String,
    }
    let by = String::new();
    let refused = third(&Total { sum: 2, by }).unwrap_err();
    assert_eq!(
        refused,
        "the function for Total takes Total { sum: u32 }, and Total { sum: u32, by: String } was written, which is nearly that: have \
         it take just that, names of types in it included, or leave it out"
    );
}

#[test]
fn an_enum_is_known_with_all_its_variants_wherever_it_stands() {
    #[derive(Serialize, Deserialize)]
    enum Status {
        New,
        Paid { cents: u32 },
    }
    #[derive(Serialize, Deserialize)]
    struct Held {
        all: Vec<Status>,
        some: Option<Status>,
        at: BTreeMap<u32, Status>,
    }
    let written = Schema::of_rows::<u32, Held>();
    assert_eq!(
        written.to_string(),
        "(u32, Held { all: [Status { New, Paid }], some: Option<Status>, at: {u32: Status} })"
    );
    assert!(
        written
            .of_name("Status")
            .is_made_as(&Schema::of::<Status>())
    );
}

#[test]
fn a_function_takes_the_whole_with_what_changed_in_it() {
    use versions::{first, second};
    #[derive(Debug, Serialize, Deserialize)]
    #[serde(rename = "Session")]
    struct Before {
        user: String,
        total: first::Total,
    }
    #[derive(Debug, Serialize, Deserialize)]
    struct Session {
        user: String,
        total: second::Total,
    }
    let in_millis = |old: first::Total| second::Total {
        sum: 1_000 * u64::from(old.sum),
        count: 1,
    };
    let mut migrations = Migrations::default();
    let whole = move |old: Before| Session {
        user: old.user,
        total: in_millis(old.total),
    };
    migrations.add(None, "Session", whole).unwrap();
    // Which is for totals that stand elsewhere.
    migrations.add(None, "Total", in_millis).unwrap();
    let (written, own) = (Schema::of::<Before>(), Schema::of::<Session>());
    let evolution = Evolution::of_value(&written, &own, migrations.of(&"sums".into()));
    let before = Before {
        user: "ann".to_owned(),
        total: first::Total { sum: 2 },
    };
    let bytes = codec::encode(&before).unwrap();
    let bytes = evolution.unwrap().unwrap().value(&bytes).unwrap();
    let read: Session = codec::decode(&bytes).unwrap();
    assert_eq!((&*read.user, read.total.sum), ("ann", 2_000));
}

#[test]
fn what_would_be_migrated_and_stays_is_refused() {
    use versions::first;
    #[derive(Serialize, Deserialize)]
    struct Totals {
        total: first::Total,
        limit: first::Total,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "TotalMs")]
    struct TotalMs {
        sum: u64,
    }
    #[derive(Serialize, Deserialize)]
    #[serde(rename = "Totals")]
    struct Mixed {
        total: TotalMs,
        limit: first::Total,
    }
    let mut migrations = Migrations::default();
    let in_millis = |old: first::Total| TotalMs {
        sum: 1_000 * u64::from(old.sum),
    };
    migrations.add(None, "Total", in_millis).unwrap();
    let (written, own) = (Schema::of::<Totals>(), Schema::of::<Mixed>());
    let refused = Evolution::of_value(&written, &own, migrations.of(&"sums".into()));
    let refused = refused.err().unwrap();
    assert!(
        refused.contains("each Total, and the program has Total in it as it was"),
        "{refused}"
    );
}

#[test]
fn functions_that_nothing_could_tell_apart_are_refused() {
    use versions::{first, second, third};
    #[derive(Serialize, Deserialize)]
    struct Seconds(u64);
    #[derive(Serialize, Deserialize)]
    struct Earlier {
        sum: u32,
    }
    let mut migrations = Migrations::default();
    let refused = migrations.add(Some("visits".into()), "Seconds", |old: u64| {
        Seconds(1_000 * old)
    });
    assert_eq!(
        refused.unwrap_err(),
        ".migrate_state_of(\"visits\", \"Seconds\", ..): what was and what is look alike, Seconds(u64), and state that was \
         migrated would be once more: give the new type another name, such as by #[serde(rename = \"..\")]"
    );
    // Of what serde can't tell, no more is known than the name.
    assert!(migrations.add(None, "Uuid", |old: Uuid| old).is_err());
    let same = |old: Earlier| first::Total { sum: old.sum };
    assert!(migrations.add(None, "Total", same).is_err());
    assert!(migrations.is_empty());

    // What has another name by now is told by that, and what had two forms before by those.
    migrations
        .add(None, "Seconds", |old: u64| 1_000 * old)
        .unwrap();
    let third = |sum| third::Total {
        sum,
        count: 1,
        new: false,
    };
    let from_first = move |old: first::Total| third(u64::from(old.sum));
    migrations.add(None, "Total", from_first).unwrap();
    let from_second = move |old: second::Total| third(old.sum);
    migrations.add(None, "Total", from_second).unwrap();
    let twice = migrations.add(None, "Total", from_first).unwrap_err();
    assert!(
        twice.contains("two functions take Total { sum: u32 }"),
        "{twice}"
    );
}

#[test]
fn a_key_stays_as_it_is() {
    let written = Schema::of::<(u32, u32)>();
    let own = Schema::of::<(u64, u32)>();
    let refused = Evolution::of_rows(&written, &own, Vec::new());
    let refused = refused.err().unwrap();
    assert!(refused.contains("its key was u32 and is u64"), "{refused}");
}

#[test]
fn what_serde_cannot_tell_is_read_as_it_is_only_under_its_own_name() {
    #[derive(Serialize, Deserialize)]
    struct Narrow {
        started: i32,
    }
    let between = |written: Schema, own: Schema| {
        let evolution = Evolution::of_rows(&written, &own, Vec::new());
        evolution.map(|evolution| evolution.is_some())
    };
    let of_session = Schema::of_rows::<Uuid, before::Session>;
    assert_eq!(between(of_session(), of_session()), Ok(false));
    // Beside an opaque key a value is known to its last field.
    let refused = between(of_session(), Schema::of_rows::<Uuid, Narrow>());
    assert_eq!(
        refused.unwrap_err(),
        "field \"started\" of Session was i64 and is i32"
    );
    let refused = between(
        Schema::of_rows::<u32, Uuid>(),
        Schema::of_rows::<u32, Vec<Uuid>>(),
    );
    assert_eq!(refused.unwrap_err(), "it was Uuid and is [Uuid]");
    let refused = between(
        Schema::of_rows::<Uuid, u32>(),
        Schema::of_rows::<String, u32>(),
    );
    assert!(
        refused
            .unwrap_err()
            .contains("its key was Uuid and is String")
    );
}

#[test]
fn a_function_for_one_operator_is_no_other_operators() {
    let mut migrations = Migrations::default();
    let to = |what: &'static str| move |page: before::Page| format!("{what}{}", page.path);
    let mut add = |operator: Option<&str>, what| {
        let added = migrations.add(operator.map(Into::into), "Page", to(what));
        added.unwrap();
    };
    add(Some("visits"), "visits");
    add(None, "any");
    let how = migrations.add(Some("clicks".into()), "How", |_: before::How| 0);
    how.unwrap();
    for (operator, names) in [("visits", ["Page", "Page"]), ("clicks", ["How", "Page"])] {
        let own = migrations.of(&operator.into());
        assert_eq!(own.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
    }
    let page = rmp_serde::to_vec_named(&session().pages[0]).unwrap();
    for (operator, path) in [("visits", "visits/"), ("clicks", "any/")] {
        let own = migrations.of(&operator.into());
        let (_, first) = own.iter().find(|(name, _)| *name == "Page").unwrap();
        let migrated = first.migrate(&page).unwrap();
        assert_eq!(rmp_serde::from_slice::<String>(&migrated).unwrap(), path);
    }
}

#[test]
fn a_function_for_a_type_that_is_not_there_is_refused_and_the_nearest_name_shown_first() {
    #[derive(Serialize, Deserialize)]
    struct Account(versions::first::Total);
    let written = WrittenStates::from([
        (
            ("sums".into(), "items".to_owned()),
            vec![Schema::of::<Account>()],
        ),
        (
            ("visits".into(), "rows".to_owned()),
            vec![Schema::of_rows::<u32, before::Page>()],
        ),
    ]);
    let check = |operator: Option<&str>, name: &str| {
        let mut migrations = Migrations::default();
        let added = migrations.add(operator.map(Into::into), name, |old: u32| u64::from(old));
        added.unwrap();
        migrations.check(&written)
    };
    assert_eq!(check(None, "Total"), Ok(()));
    assert_eq!(check(Some("sums"), "Total"), Ok(()));
    assert_eq!(
        check(None, "Totla").unwrap_err(),
        ".migrate(\"Totla\", ..): no type in state of what was written has that name: name one of those that are \
         there, such as \"Total\", \"How\", \"Page\", \"Account\""
    );
    let refused = check(Some("visits"), "Total").unwrap_err();
    assert!(
        refused.starts_with(".migrate_state_of(\"visits\", \"Total\", ..)")
            && refused.ends_with("such as \"How\", \"Page\""),
        "{refused}"
    );
    // What it gives is there: it has been migrated already.
    let mut migrations = Migrations::default();
    let page = |path: String| before::Page {
        path,
        times: 1,
        how: before::How::Typed,
    };
    migrations.add(None, "Path", page).unwrap();
    assert_eq!(migrations.check(&written), Ok(()));
    assert!(
        check(Some("vists"), "Page")
            .unwrap_err()
            .ends_with("leave it out")
    );
}
