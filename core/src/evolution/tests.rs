use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;
use crate::codec;
use crate::ids::OperatorUid;

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

#[test]
fn what_has_the_present_form_is_not_migrated_where_something_beside_it_is_new() {
    #[derive(Debug, Serialize, Deserialize)]
    struct Session {
        pages: Vec<before::Page>,
        #[serde(default)]
        user: String,
    }
    let mut migrations = Migrations::default();
    let lost = |_: u32| before::Page {
        path: String::new(),
        times: 0,
        how: before::How::Typed,
    };
    migrations.add(None, "Page", lost).unwrap();
    let read = read_as::<Session>(&migrations).unwrap();
    let paths: Vec<&str> = read.pages.iter().map(|page| &*page.path).collect();
    assert_eq!((paths, &*read.user), (vec!["/", "/a"], ""));
}

#[test]
fn a_function_between_forms_that_look_alike_is_refused() {
    let mut migrations = Migrations::default();
    let refused = migrations.add(Some("visits".into()), "Total", |seconds: u64| {
        1_000 * seconds
    });
    assert_eq!(
        refused.unwrap_err(),
        ".migrate_state_of(\"visits\", \"Total\", ..): what was and what is look alike, u64, and state that was migrated would be \
         once more: give the new type another name, such as by #[serde(rename = \"..\")]"
    );
    assert!(migrations.is_empty());
}

#[test]
fn a_key_stays_as_it_is() {
    let written = Schema::of::<(u32, u32)>();
    let own = Schema::of::<(u64, u32)>();
    let refused = Evolution::of_rows(&written, &own, Applying::new());
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
        let evolution = Evolution::of_rows(&written, &own, Applying::new());
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
    for (operator, names) in [("visits", vec!["Page"]), ("clicks", vec!["How", "Page"])] {
        let own = migrations.of(&operator.into());
        assert_eq!(own.keys().copied().collect::<Vec<_>>(), names);
    }
    let page = rmp_serde::to_vec_named(&session().pages[0]).unwrap();
    for (operator, path) in [("visits", "visits/"), ("clicks", "any/")] {
        let migrated = migrations.of(&operator.into())["Page"](&page).unwrap();
        assert_eq!(rmp_serde::from_slice::<String>(&migrated).unwrap(), path);
    }
}

#[test]
fn a_function_for_a_type_that_is_not_there_is_refused_and_the_nearest_name_shown_first() {
    let named = |of: &[(&str, &[&str])]| -> BTreeMap<OperatorUid, BTreeSet<String>> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        of.iter()
            .map(|(operator, all)| ((*operator).into(), names(all)))
            .collect()
    };
    let named = named(&[("sums", &["Account", "Total"]), ("visits", &["Page"])]);
    let check = |operator: Option<&str>, name: &str| {
        let mut migrations = Migrations::default();
        let added = migrations.add(operator.map(Into::into), name, |old: u32| u64::from(old));
        added.unwrap();
        migrations.check(&named)
    };
    assert_eq!(check(None, "Total"), Ok(()));
    assert_eq!(check(Some("sums"), "Total"), Ok(()));
    assert_eq!(
        check(None, "Totla").unwrap_err(),
        ".migrate(\"Totla\", ..): no type in state of the savepoint has that name: name one of those that are \
         there, such as \"Total\", \"Page\", \"Account\""
    );
    let refused = check(Some("visits"), "Total").unwrap_err();
    assert!(
        refused.starts_with(".migrate_state_of(\"visits\", \"Total\", ..)")
            && refused.ends_with("such as \"Page\""),
        "{refused}"
    );
    assert!(
        check(Some("vists"), "Page")
            .unwrap_err()
            .ends_with("leave it out")
    );
}
