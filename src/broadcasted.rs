//! A stream beside a broadcast one, of which every subtask keeps its own copy.

use std::marker::PhantomData;

use rivus_core::{AsFirst, AsSecond, Exchange, HashBy, Hashed, Record, StreamEdge};
use rivus_operators::{
    BroadcastOperator, BroadcastProcessFunction, KeySelector, KeyedBroadcastOperator,
    KeyedBroadcastProcessFunction, SideOutputs,
};

use crate::connected::{add, sent_by};
use crate::keyed::KeyedStream;
use crate::program::Program;
use crate::stream::DataStream;

/// A stream beside a broadcast one: rules that all subtasks must know, say.
///
/// ```
/// use rivus::{BroadcastProcessFunction, Event, MapState, Output, UserError};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// /// Tells each rule that is new. (A stream beside it would be checked by what has come of them.)
/// #[derive(Clone)]
/// struct Rules;
///
/// impl BroadcastProcessFunction<String, String> for Rules {
///     type Out = String;
///     type Broadcast = MapState<String, ()>;
///
///     fn process(
///         &mut self, word: Event<String>, rules: &Self::Broadcast, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if rules.contains_key(&word.value) {
///             out.emit(format!("{} is against the rules", word.value));
///         }
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self, rule: Event<String>, rules: &mut Self::Broadcast, out: &mut Output<'_, String>,
///     ) -> Result<(), UserError> {
///         if rules.insert(rule.value.clone(), ()).is_none() {
///             out.emit(format!("no {}", rule.value));
///         }
///         Ok(())
///     }
/// }
///
/// let words = env.from_collection(vec!["hello".to_owned()]);
/// let rules = env.from_collection(vec!["shouting".to_owned(), "shouting".to_owned()]);
/// let told = words.connect_broadcast(&rules.broadcast()).process(Rules).parallelism(2).collect();
/// env.execute("rules").await?;
/// assert_eq!(told.values(), ["no shouting", "no shouting"]); // each subtask tells it
/// # Ok(()) }
/// ```
#[must_use = "connected streams do nothing until something is made of them"]
pub struct BroadcastConnectedStream<A, B> {
    first: DataStream<A>,
    second: DataStream<B>,
}

/// Refuses a second stream of which every subtask would get a part only.
fn must_be_broadcast<B: Record>(program: &Program, second: &DataStream<B>) {
    program.joins(&second.program, "connect_broadcast");
    let is_broadcast = |exchange: Exchange| exchange == Exchange::Broadcast;
    if !(second.origins.iter()).all(|origin| is_broadcast(origin.exchange)) {
        program.mistake(
            ".connect_broadcast(..) of a stream that isn't broadcast, so that each subtask would get a part of \
             it only: call .broadcast() on it"
                .to_owned(),
        );
    }
}

impl<A: Record> DataStream<A> {
    /// Reads this stream beside a broadcast one; see [`BroadcastConnectedStream`].
    pub fn connect_broadcast<B: Record>(
        &self,
        broadcast: &DataStream<B>,
    ) -> BroadcastConnectedStream<A, B> {
        must_be_broadcast(&self.program, broadcast);
        BroadcastConnectedStream {
            first: self.clone(),
            second: broadcast.clone(),
        }
    }
}

impl<A: Record, B: Record> BroadcastConnectedStream<A, B> {
    /// What a [`BroadcastProcessFunction`] makes of the records of both.
    pub fn process<P: BroadcastProcessFunction<A, B>>(&self, function: P) -> DataStream<P::Out> {
        let program = &self.first.program;
        let mut inputs = program.edges_as::<A, AsFirst<B>>(&self.first.origins);
        inputs.extend(program.edges_as::<B, AsSecond<A>>(&self.second.origins));
        let sides = SideOutputs::new();
        let operator: BroadcastOperator<A, B, P> = BroadcastOperator::new(function, sides.clone());
        add(program, inputs, "broadcast_process", operator, |node| {
            node.declared = sides;
        })
    }
}

/// A keyed stream beside a broadcast one.
///
/// Event time is what both have reached: timers wait for the broadcast stream's watermarks too. One that seldom has
/// records needs a strategy [`with_idleness`](crate::WatermarkStrategy::with_idleness).
///
/// ```
/// use rivus::{Event, Keyed, KeyedBroadcastProcessFunction, MapState, Output, Timer, UserError, WatermarkStrategy};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
/// # let env = rivus::StreamEnvironment::default();
/// /// At the end of each minute says what a customer is charged, by the prices of that time.
/// #[derive(Clone)]
/// struct Charges;
///
/// impl KeyedBroadcastProcessFunction<u64, (u64, u32), u32> for Charges {
///     type Out = (u64, u32);
///     /// Units by the end of their minute.
///     type State = MapState<i64, u32>;
///     /// Prices by the time from which they hold.
///     type Broadcast = MapState<i64, u32>;
///
///     fn process(
///         &mut self, used: Event<(u64, u32)>, units: &mut Keyed<'_, u64, Self::State>, _prices: &Self::Broadcast,
///         _out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         let minute = used.ts.div_euclid(60_000) * 60_000 + 59_999;
///         *units.entry(minute).or_default() += used.value.1;
///         units.register_event_timer(minute);
///         Ok(())
///     }
///
///     fn process_broadcast(
///         &mut self, price: Event<u32>, prices: &mut Self::Broadcast, _out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         prices.insert(price.ts, price.value);
///         Ok(())
///     }
///
///     fn on_timer(
///         &mut self, minute: Timer, units: &mut Keyed<'_, u64, Self::State>, prices: &Self::Broadcast,
///         out: &mut Output<'_, (u64, u32)>,
///     ) -> Result<(), UserError> {
///         // All prices up to the timer's time have come: that is what the watermark says.
///         let price = prices.iter().take_while(|(from, _)| **from <= minute.ts).last();
///         let used = units.remove(&minute.ts).unwrap_or_default();
///         out.emit((*units.key(), used * price.map_or(1, |(_, price)| *price)));
///         Ok(())
///     }
/// }
///
/// let used = env
///     .from_events(vec![Event::at(1_000, (7, 2)), Event::at(61_000, (7, 2))])
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let prices = env
///     .from_events(vec![Event::at(0, 10), Event::at(60_000, 15)])
///     .assign_watermarks(WatermarkStrategy::monotonous());
/// let by_customer = used.key_by(|used| used.0);
/// let charges = by_customer.connect_broadcast(&prices.broadcast()).process(Charges).parallelism(2).collect();
/// env.execute("charges").await?;
/// assert_eq!(charges.values(), [(7, 20), (7, 30)]);
/// # Ok(()) }
/// ```
#[must_use = "connected streams do nothing until something is made of them"]
pub struct KeyedBroadcastConnectedStream<A, B, S> {
    program: Program,
    inputs: Vec<StreamEdge>,
    selector: S,
    of: PhantomData<fn(A, B)>,
}

impl<A: Record, S: KeySelector<A>> KeyedStream<A, S> {
    /// Reads this stream beside a broadcast one; see [`KeyedBroadcastConnectedStream`].
    ///
    /// A stream that isn't broadcast is refused:
    ///
    /// ```
    /// # use rivus::{Event, Keyed, KeyedBroadcastProcessFunction, Output, UserError, ValueState};
    /// # #[derive(Clone)]
    /// # struct Latest;
    /// # impl KeyedBroadcastProcessFunction<u32, u32, u32> for Latest {
    /// #     type Out = u32;
    /// #     type State = ();
    /// #     type Broadcast = ValueState<u32>;
    /// #     fn process(
    /// #         &mut self, _: Event<u32>, _: &mut Keyed<'_, u32, ()>, _: &Self::Broadcast, _: &mut Output<'_, u32>,
    /// #     ) -> Result<(), UserError> { Ok(()) }
    /// #     fn process_broadcast(
    /// #         &mut self, n: Event<u32>, last: &mut Self::Broadcast, _: &mut Output<'_, u32>,
    /// #     ) -> Result<(), UserError> { last.set(n.value); Ok(()) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), rivus::JobError> {
    /// # let env = rivus::StreamEnvironment::default();
    /// let (numbers, rules) = (env.from_collection(vec![1, 2]), env.from_collection(vec![3]));
    /// numbers.key_by(|n| *n).connect_broadcast(&rules).process(Latest).print();
    /// let error = env.execute("rules").await.unwrap_err();
    /// assert!(error.to_string().ends_with("call .broadcast() on it"));
    /// # Ok(()) }
    /// ```
    pub fn connect_broadcast<B: Record>(
        &self,
        broadcast: &DataStream<B>,
    ) -> KeyedBroadcastConnectedStream<A, B, S> {
        must_be_broadcast(&self.program, broadcast);
        let by = self.selector.clone();
        let hash = move |value: &A| by.hash(value);
        let route = HashBy::<A, _, AsFirst<B>>::carrying(hash);
        let mut inputs = sent_by(&self.edges, route);
        let origins = &broadcast.origins;
        inputs.extend(self.program.edges_as::<B, AsSecond<Hashed<A>>>(origins));
        KeyedBroadcastConnectedStream {
            program: self.program.clone(),
            inputs,
            selector: self.selector.clone(),
            of: PhantomData,
        }
    }
}

impl<A: Record, B: Record, S: KeySelector<A>> KeyedBroadcastConnectedStream<A, B, S> {
    /// What a [`KeyedBroadcastProcessFunction`] makes of the records of both, its state and its timers.
    ///
    /// A broadcast record may visit the state of all keys:
    ///
    /// ```
    /// use rivus::testing::OperatorTest;
    /// use rivus::{
    ///     DataStream, Either, Event, Keyed, KeyedBroadcastProcessFunction, Output, UserError, ValueState,
    /// };
    ///
    /// /// Adds up a customer's points; what is broadcast is given to everybody who has some.
    /// #[derive(Clone)]
    /// struct Points;
    ///
    /// impl KeyedBroadcastProcessFunction<String, String, u32> for Points {
    ///     type Out = (String, u32);
    ///     type State = ValueState<u32>;
    ///     type Broadcast = ();
    ///
    ///     fn process(
    ///         &mut self, who: Event<String>, points: &mut Keyed<'_, String, Self::State>, _: &(),
    ///         out: &mut Output<'_, (String, u32)>,
    ///     ) -> Result<(), UserError> {
    ///         *points.get_or_default() += 1;
    ///         out.emit((who.value, *points.get_or_default()));
    ///         Ok(())
    ///     }
    ///
    ///     fn process_broadcast(
    ///         &mut self, _: Event<u32>, _: &mut (), _: &mut Output<'_, (String, u32)>,
    ///     ) -> Result<(), UserError> {
    ///         Ok(())
    ///     }
    ///
    ///     fn visits_keys(&self, _gift: &u32) -> bool {
    ///         true
    ///     }
    ///
    ///     fn for_each_key(
    ///         &mut self, gift: &Event<u32>, points: &mut Keyed<'_, String, Self::State>, _: &(),
    ///         _: &mut Output<'_, (String, u32)>,
    ///     ) -> Result<(), UserError> {
    ///         *points.get_or_default() += gift.value;
    ///         Ok(())
    ///     }
    /// }
    ///
    /// OperatorTest::of_two(|customers: &DataStream<String>, gifts: &DataStream<u32>| {
    ///     let by_name = customers.key_by_ref(|who| who.as_str());
    ///     by_name.connect_broadcast(&gifts.clone().broadcast()).process(Points)
    /// })
    /// .reads(|word| match word.parse() {
    ///     Ok(gift) => Either::Second(gift),
    ///     Err(_) => Either::First(word.to_owned()),
    /// })
    /// .shows(|(who, points)| format!("{who}={points}"))
    /// .check("ann@1 bob@2 100@3 ann@4 cat@5 | x2 bob@6", "ann=1@1 bob=1@2 ann=102@4 cat=1@5 | bob=102@6");
    /// ```
    pub fn process<P: KeyedBroadcastProcessFunction<S::Key, A, B>>(
        &self,
        function: P,
    ) -> DataStream<P::Out> {
        let sides = SideOutputs::new();
        let selector = self.selector.clone();
        let operator: KeyedBroadcastOperator<A, B, S, P> =
            KeyedBroadcastOperator::new(selector, function, sides.clone());
        let inputs = self.inputs.clone();
        add(
            &self.program,
            inputs,
            "broadcast_process",
            operator,
            |node| {
                node.declared = sides;
            },
        )
    }
}
