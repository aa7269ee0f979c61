//! The examples that meet others than a log: a web service, a service that is asked for names, people's data.

#![allow(clippy::unwrap_used)] // helpers of tests

use clap::Parser;

use crate::examples::environment;
#[cfg(feature = "parquet")]
use crate::examples::logs;

#[allow(dead_code)] // its `main`
#[path = "../../examples/embedded_actor/main.rs"]
pub(crate) mod embedded_actor;
#[allow(dead_code)] // its `main`
#[path = "../../examples/enrich_async.rs"]
pub(crate) mod enrich_async;
#[cfg(feature = "parquet")]
#[allow(dead_code)] // its `main`
#[path = "../../examples/etl_mask.rs"]
pub(crate) mod etl_mask;

/// Asks the service as a browser would; the status and the body.
async fn http(address: std::net::SocketAddr, method: &str, path: &str, body: &str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: rivus\r\nconnection: close\r\n");
    let request = format!("{head}content-length: {}\r\n\r\n{body}", body.len());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {body}", head.split(' ').nth(1).unwrap())
}

#[tokio::test]
async fn a_service_counts_views_and_lists_popular_pages() {
    let in_memory = ["embedded_actor", "--popular", "2"];
    a_service_counts_views(&in_memory).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    a_service_counts_views(&[&in_memory[..], &["--rocksdb", path]].concat()).await;
    // The process's own directory, which is gone at its end, is there.
    let is_own = |entry: std::fs::DirEntry| entry.path().is_dir();
    assert!(std::fs::read_dir(dir.path()).unwrap().flatten().any(is_own));
}

async fn a_service_counts_views(words: &[&str]) {
    let args = embedded_actor::Args::try_parse_from(words).unwrap();
    let popular = embedded_actor::popular::Popular;
    let popular = ractor::Actor::spawn(None, popular, Vec::new()).await;
    let (popular, over) = popular.unwrap();
    let service = embedded_actor::start(&args, popular.clone()).await.unwrap();
    let job = service.job.clone();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = embedded_actor::router(service);
    let serving = tokio::spawn(async move { axum::serve(listener, routes).await });
    for page in ["/a", "/b", "/a", "/a/c"] {
        assert_eq!(http(address, "POST", "/views", page).await, "202 ");
    }
    for (path, answer) in [
        ("/views/a", "200 2"),
        ("/views/a/c", "200 1"),
        ("/views/d", "200 0"),
    ] {
        assert_eq!(http(address, "GET", path, "").await, answer);
    }
    while http(address, "GET", "/popular", "").await != "200 /a" {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await; // its commit is under way
    }
    popular.stop(None);
    over.await.unwrap();
    assert!(matches!(job.wait().await, Err(rivus::JobError::Canceled)));
    serving.abort();
}

#[tokio::test]
async fn orders_get_their_customers_names_in_their_order_or_not() {
    for order in ["--timeout=400", "--timeout=400 --ordered"] {
        let words = ["enrich_async"].into_iter().chain(order.split(' '));
        let args = enrich_async::Args::try_parse_from(words).unwrap();
        let (service, asked) = enrich_async::customers::serve().await.unwrap();
        let env = environment(2);
        let named = enrich_async::enriched(&env, &args, service).collect();
        env.execute("enrich").await.unwrap();
        let mut named = named.values();
        for (_, customer, name) in &named {
            let known = (*customer != 13).then(|| format!("customer {customer}"));
            assert_eq!(*name, known, "{order}");
        }
        let asked = asked.lock().unwrap().clone();
        for (customer, times) in &asked {
            // Busy twice; nobody else is asked for again once there was an answer.
            let least = if customer % 4 == 0 { 3 } else { 1 };
            assert!(*times >= least, "{customer}: {times}");
        }
        assert!(
            asked.values().sum::<u32>() < args.orders as u32 + 2 * 5,
            "a cache"
        );
        if order.contains("ordered") {
            // Of each of the two subtasks by itself.
            for rest in [0, 1] {
                let of = named.iter().filter(|named| named.0 % 2 == rest);
                assert!(of.clone().count() > 0 && of.is_sorted_by_key(|named| named.0));
            }
        }
        named.sort();
        let orders: Vec<u64> = named.iter().map(|named| named.0).collect();
        assert_eq!(orders, Vec::from_iter(0..args.orders));
    }
}

#[cfg(feature = "parquet")]
#[test]
fn pseudonyms_are_those_of_the_paper() {
    let bytes: Vec<u8> = (0..15).collect();
    let key = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
    let hash = etl_mask::pseudonym::siphash(key, &bytes);
    assert_eq!(hash, 0xa129_ca61_49be_45e5);
}

#[cfg(feature = "parquet")]
fn masked(text: &str) -> String {
    let (key, names) = ([1, 2], Vec::new());
    etl_mask::pseudonym::Masks { key, names }.text(text)
}

#[cfg(feature = "parquet")]
#[test]
fn an_address_is_masked_whatever_stands_around_it() {
    let [four, six] = ["192.0.2.17", "fe80::1"].map(masked);
    for (text, shown) in [
        ("http://192.0.2.17/login", format!("http://{four}/login")),
        ("192.0.2.0/24", format!("{}/24", masked("192.0.2.0"))),
        ("client:192.0.2.17", format!("client:{four}")),
        ("fe80::1%eth0", format!("{six}%eth0")),
        ("::ffff:192.0.2.17", four.clone()),
        ("[fe80::1]:443.", format!("[{six}]:443.")),
        ("at 08:00:01, v1.2", "at 08:00:01, v1.2".to_owned()),
    ] {
        assert_eq!(masked(text), shown);
    }
}

#[cfg(feature = "parquet")]
proptest::proptest! {
    #[test]
    fn no_address_stays(
        before in "[ -~é]{0,6}", after in "[ -~é]{0,6}", ip: std::net::IpAddr,
    ) {
        proptest::prop_assume!(ip.to_string() != "::");
        let masked = masked(&format!("{before}{ip}{after}"));
        proptest::prop_assert!(!masked.contains(&ip.to_string()), "{masked}");
    }
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn masked_events_go_into_one_full_file_after_the_other() {
    let [log, ..] = &logs("events.jsonl")[..] else {
        panic!("no events")
    };
    let place = tempfile::tempdir().unwrap();
    let (many, out) = (place.path().join("many.jsonl"), place.path().join("out"));
    let text = std::fs::read_to_string(log).unwrap();
    std::fs::write(&many, text.repeat(200)).unwrap();
    let (many, dir) = (many.to_str().unwrap(), out.to_str().unwrap());
    let key = "000102030405060708090a0b0c0d0e0f";
    let args = ["etl_mask", many, dir, "--max-bytes", "1", "--key", key];
    let env = environment(1);
    etl_mask::etl_mask(&env, &etl_mask::Args::try_parse_from(args).unwrap());
    env.execute("mask").await.unwrap();

    let files = std::fs::read_dir(out.join("events")).unwrap().count();
    assert!(files > 1, "all of them are in one file");
    let source = rivus::connectors::ParquetSource::<etl_mask::Shown>::folder(out.join("events"));
    let rows = env.from_source(source).collect();
    env.execute("read").await.unwrap();
    let is_event = |line: &&str| line.contains("\"client\"");
    assert_eq!(rows.len(), 200 * text.lines().filter(is_event).count());
}

#[cfg(feature = "parquet")]
#[tokio::test]
async fn no_address_and_no_name_is_left_in_masked_events() {
    use rivus::connectors::ParquetSource;

    let [log, ..] = &logs("events.jsonl")[..] else {
        panic!("no events")
    };
    let text = std::fs::read_to_string(log).unwrap();
    let is_event = |line: &&str| line.contains("\"client\"");
    let (events, lines) = (text.lines().filter(is_event).count(), text.lines().count());
    for parallelism in [1, 3] {
        let out = tempfile::tempdir().unwrap();
        let (log, dir) = (log.to_str().unwrap(), out.path().to_str().unwrap());
        let key = "000102030405060708090a0b0c0d0e0f";
        let args = ["etl_mask", log, dir, "--max-bytes", "1", "--key", key];
        let args = etl_mask::Args::try_parse_from(args).unwrap();
        let env = environment(parallelism);
        etl_mask::etl_mask(&env, &args);
        env.execute("mask").await.unwrap();

        let files = format!("{dir}/events/*.parquet");
        let rows = env
            .from_source(ParquetSource::<etl_mask::Shown>::glob(files))
            .collect();
        env.execute("read").await.unwrap();
        let mut rows = rows.values();
        rows.sort_by(|a, b| a.at.cmp(&b.at));
        assert_eq!(rows.len(), events);
        for row in &rows {
            let written = format!("{row:?}").to_lowercase();
            assert!(!written.contains('@'), "{written}");
            for name in [
                "archer", "baker", "carol", "192.0.2", "198.51", "2001:db8", "203.0",
            ] {
                assert!(!written.contains(name), "{written}");
            }
        }
        // Ann is Ann, however her name is written and whatever field it stands in.
        assert_eq!(rows[0].user, rows[2].user);
        assert_eq!(rows[0].email, rows[2].email);
        assert_eq!(rows[1].seller.as_ref(), Some(&rows[0].user));
        assert_ne!(rows[0].user, rows[1].user);
        let mail = rows[0].email.clone().unwrap();
        assert!(
            rows[1].note.contains(&format!("<{mail}>")),
            "{}",
            rows[1].note
        );
        assert!(rows[0].note.contains(&format!("{}:51044", rows[0].client)));

        let bad = std::fs::read_dir(out.path().join("bad")).unwrap();
        let bad = bad.map(|file| std::fs::read_to_string(file.unwrap().path()).unwrap());
        let bad: String = bad.collect();
        assert_eq!(bad.lines().count(), lines - events);
        assert!(!bad.contains("carol"), "{bad}");
    }
}
