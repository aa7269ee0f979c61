use std::cmp::Reverse;
use std::time::Duration;

use super::rig::*;
use crate::{
    AggregateFunction, Fold, MinBy, TopN, Window, WindowAssigner, WindowOperator, Windowed, by_ref,
};

/// Checks what an aggregate makes of windows of 4 ms that begin every 2 ms.
#[track_caller]
fn check_sliding<A: AggregateFunction<In = Pair>>(
    function: A,
    show: fn(&Windowed<String, A::Out>) -> String,
    input: &str,
    output: &str,
) {
    let by_key = by_ref::<Pair, str, _>(|pair| &pair.0);
    let assigner = WindowAssigner::sliding(Duration::from_millis(4), Duration::from_millis(2));
    let operator = WindowOperator::aggregate(by_key, assigner, function);
    check_keyed(&operator, &main_only(show), input, output);
}

fn range<R>(windowed: &Windowed<String, R>) -> String {
    let Window { start, end } = windowed.window;
    format!("{}[{start},{end})", windowed.key)
}

#[test]
fn a_fold_of_a_window_is_merged_of_its_panes() {
    let digits = Fold::new(String::new(), |all: &mut String, pair: &Pair| {
        *all += &pair.1.to_string();
    })
    .merged_by(|all, later| *all += &later);
    check_sliding(
        digits,
        |window| format!("{}={}", range(window), window.value),
        "a=1@1 a=2@2 | a=3@2 x a=4@5 !max",
        "| a[-2,2)=1@1 a[0,4)=123@3 a[2,6)=234@5 a[4,8)=4@7 !max",
    );
}

#[test]
fn the_best_of_a_window_are_those_of_its_panes_the_earlier_first() {
    let best = (
        MinBy::of(|pair: &Pair| pair.1 / 10),
        TopN::of(2, |pair: &Pair| Reverse(pair.1 / 10)),
    );
    check_sliding(
        best,
        |window| {
            let (least, top) = &window.value;
            let top: Vec<i64> = top.iter().map(|pair| pair.1).collect();
            format!("{}={},{top:?}", range(window), least.clone().unwrap().1).replace(' ', "")
        },
        "a=12@2 a=31@1 | a=13@1 x a=11@3 a=9@5 !max",
        "| a[-2,2)=13,[13,31]@1 a[0,4)=13,[13,12]@3 a[2,6)=9,[9,12]@5 a[4,8)=9,[9]@7 !max",
    );
}
