//! Whole jobs by pictures, as a user tests them.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use rivus::testing::JobPictures;
use rivus::{DataStream, Either, RestartStrategy, WindowAssigner};

use crate::backends::backends;

type Pair = (String, u64);

fn pair(word: &str) -> Pair {
    let (key, number) = word.split_once('=').unwrap_or((word, "1"));
    (key.to_owned(), number.parse().expect("a number"))
}

fn tens() -> WindowAssigner {
    WindowAssigner::tumbling(Duration::from_millis(10))
}

fn show((key, number): &Pair) -> String {
    format!("{key}={number}")
}

#[tokio::test(start_paused = true)]
async fn committed_records_are_what_they_are_undisturbed_at_every_parallelism() {
    for parallelism in [1, 3] {
        JobPictures::of(|pairs: &DataStream<Pair>| {
            let sums = pairs.key_by_ref(|pair| pair.0.as_str()).window(tens());
            sums.sum(|pair| pair.1).map(|sum| (sum.key, sum.value))
        })
        .reads(pair)
        .shows(show)
        .settings(|settings| settings.parallelism(parallelism))
        .check("a=1@1 b=2@2 a=3@3 !9 end", "{ a=4@9 b=2@9 } end")
        .await
        // What a kill undoes comes again, with its watermark, and once.
        .check(
            "a=1@1 | a=3@3 x b=2@4 !9 x | end",
            "| { a=4@9 b=2@9 } | end",
        )
        .await
        .check("a=1@1 !9 a=2@3 | end", "a=1@9 | end")
        .await
        // Before anything has been seen of the job.
        .check("a=1@1 x x !9 end", "a=1@9 end")
        .await
        // The next leader's tasks are the same ones; then two others go on.
        .check(
            "a=1@1 takeover a=3@3 | !9 x2 a=5@12 takeover !19 | a=1@21 end",
            "| a=4@9 a=5@19 | a=1@29 end",
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_inputs_have_one_event_time() {
    for backend in backends() {
        JobPictures::of_two(|orders: &DataStream<Pair>, payments: &DataStream<Pair>| {
            orders
                .join(payments)
                .on(|order| order.0.clone(), |payment| payment.0.clone())
                .window(tens())
                .apply(|order, payment| (order.0.clone(), order.1 + payment.1))
                .map(|joined| joined.value)
        })
        .reads(|word| match word.strip_prefix('~') {
            Some(word) => Either::Second(pair(word)),
            None => Either::First(pair(word)),
        })
        .shows(show)
        .settings(|settings| backend.set(settings))
        .check(
            "a=1@1 ~a=2@2 ~b=1@2 | x a=5@3 !9 | end",
            "| { a=3@9 a=7@9 } | end",
        )
        .await;
    }
}

#[tokio::test(start_paused = true)]
async fn time_passes_as_the_picture_says() {
    JobPictures::of(|pairs: &DataStream<Pair>| {
        let seconds = WindowAssigner::tumbling(Duration::from_secs(1)).processing_time();
        let sums = pairs.key_by_ref(|pair| pair.0.as_str()).window(seconds);
        sums.sum(|pair| pair.1).map(|sum| (sum.key, sum.value))
    })
    .reads(pair)
    // The times of such windows are the clock's.
    .shows(show)
    .check("a=1@1 a=2@2 +1500 a=3@3 +1000 end", "a=3@999 a=3@1999 end")
    .await
    // However many words are before it.
    .check(
        "a=1@1 / a=2@2 / b=1@1 !1 !2 / a=1@1 +900 a=2@3 +1000 end",
        "{ a=4@999 b=1@999 } a=2@1999 end",
    )
    .await;
}

#[test]
fn a_picture_that_is_wrong_says_so() {
    let doubled = JobPictures::of(|pairs: &DataStream<Pair>| {
        pairs.map(|(key, number)| {
            assert!(number < 9, "too much");
            (key, 2 * number)
        })
    });
    let doubled = doubled
        .reads(pair)
        .shows(show)
        .settings(|settings| settings.restart(RestartStrategy::None));
    let runtime = || {
        let builder = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .start_paused(true)
            .build();
        builder.expect("a runtime")
    };
    let told = |picture, expected| {
        let check = AssertUnwindSafe(|| {
            runtime().block_on(doubled.check(picture, expected));
        });
        let panic = std::panic::catch_unwind(check).expect_err("it is wrong");
        *panic.downcast::<String>().expect("a message")
    };
    let other = told("a=1@1 | a=2@2 end", "a=2@1 | a=5@2 end");
    assert!(other.contains("with seed 0 (rows in memory"), "{other}");
    assert!(other.contains("> a=4@2     a=5@2"), "{other}");
    let idle = told("a=1@1 idle", "");
    assert!(idle.contains("idle means nothing to a job"), "{idle}");
    assert!(idle.contains("takeover"), "{idle}");
    let failed = told("a=9@1 end", "");
    assert!(failed.contains("too much"), "{failed}");
    for picture in [
        "a=9@2 | end",
        "a=1@1 | a=9@2",
        "a=9@1 x end",
        "a=9@1 x3 end",
        "a=9@1 takeover end",
    ] {
        let failed = runtime().block_on(doubled.play(picture, 0));
        let failed = failed.expect_err(picture).to_string();
        assert!(failed.contains("too much"), "{picture}: {failed}");
    }
    let strange = runtime().block_on(doubled.play("\u{fc}=1@1 | end", 0));
    assert_eq!(strange.expect("it is a key"), "\u{fc}=2@1 | end");
}
