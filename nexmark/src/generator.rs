//! The events of an auction house, made up by the rules of the benchmark.
//!
//! They come in *epochs* of 50: a person, three auctions, 46 bids. Event `n` is a pure function of the seed and `n`: its
//! time, its numbers, who it names. Whoever it names was there before, but for a few that come ahead of what they name, as
//! messages of a distributed system may.
//!
//! | | |
//! |---|---|
//! | a bid is for | in one case of two the last auction whose number is divisible by 100, else one of the last 100, or up to 10 ahead of them |
//! | its bidder | in three cases of four the last person whose number is 1 above a multiple of 100, else one of the last 1,000, or up to 10 ahead |
//! | an auction's seller | in three cases of four the last person whose number is divisible by 100, else as a bidder |
//! | it lasts | 1 ms and up to twice the time in which 100 auctions begin |
//! | a price | 100 cents to a million times that, its logarithm evenly spread |
//! | a bid's channel | in one case of two one of four that have a name each, else one of 10,000 |
//!
//! Other than in those suites the letters of texts are cut out of one long text and have no blanks among them, people have other
//! names, and an address for mail always has nine letters.
//!
//! Source: Tucker, Tufte, Papadimos, Maier: NEXMark, A Benchmark for Queries over Data Streams (2002), with the sizes and
//! ratios that the suites of Apache Beam and Apache Flink gave it.

use std::sync::Arc;

use rivus::Timestamp;
use rivus::connectors::{GeneratorSource, SplitMix};

use crate::model::{Auction, Bid, NexmarkEvent, Person};

/// Persons, auctions and bids of an epoch.
const PERSONS: u64 = 1;
const AUCTIONS: u64 = 3;
const BIDS: u64 = 46;
/// Events of an epoch.
pub const EPOCH: u64 = PERSONS + AUCTIONS + BIDS;

/// The first person's number, and the first auction's.
pub const FIRST_ID: u64 = 1_000;
/// The lowest of the five categories.
pub const FIRST_CATEGORY: u64 = 10;

/// In how many cases something hot is meant: all but one of so many.
const HOT_AUCTIONS: u64 = 2;
const HOT_BIDDERS: u64 = 4;
const HOT_SELLERS: u64 = 4;
const HOT_CHANNELS: u64 = 2;
/// One of so many numbers is hot.
const HOT_EVERY: u64 = 100;
const AUCTIONS_IN_FLIGHT: u64 = 100;
const ACTIVE_PERSONS: u64 = 1_000;
/// How far ahead of what there is a number may be.
const LEAD: u64 = 10;
const CHANNELS: u64 = 10_000;

/// Letters of the text that others are cut out of, and of the longest of those.
const TEXT: usize = 1 << 16;
const LONGEST: usize = 1 << 10;
/// Prices between which others lie.
const PRICES: usize = 1 << 10;

/// Mean sizes in bytes, numbers at eight each.
const PERSON_BYTES: u64 = 207;
const AUCTION_BYTES: u64 = 507;
const BID_BYTES: u64 = 172;

/// When the first event happened, milliseconds since the epoch: 15 July 2015.
pub const BEGIN: Timestamp = 1_436_918_400_000;

const FIRST_NAMES: [&str; 11] = [
    "Ada", "Bela", "Clara", "David", "Edith", "Frida", "Gustav", "Hedy", "Igor", "Johanna", "Karl",
];
const LAST_NAMES: [&str; 9] = [
    "Abel",
    "Bernstein",
    "Curie",
    "Darwin",
    "Euler",
    "Fermat",
    "Goedel",
    "Hopper",
    "Ising",
];
/// Where somebody lives is drawn without a look at the state.
const CITIES: [&str; 10] = [
    "Phoenix",
    "Los Angeles",
    "San Francisco",
    "Boise",
    "Portland",
    "Bend",
    "Redmond",
    "Seattle",
    "Kent",
    "Cheyenne",
];
const STATES: [&str; 6] = ["AZ", "CA", "ID", "OR", "WA", "WY"];
const HOT_NAMES: [&str; 4] = ["Google", "Facebook", "Baidu", "Apple"];

/// How many events there are, and in what time.
///
/// ```
/// use rivus_nexmark::{BEGIN, Generator, NexmarkConfig};
///
/// let a_minute = NexmarkConfig { events: 60_000, events_per_second: 1_000, seed: 7 };
/// assert_eq!(Generator::new(a_minute).date_time(59_999), BEGIN + 59_999);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NexmarkConfig {
    /// Events in all; persons, auctions and bids together.
    pub events: u64,
    /// Events a second of event time. It says nothing of how fast they are read.
    pub events_per_second: u64,
    /// Another one, other events.
    pub seed: u64,
}

impl Default for NexmarkConfig {
    /// A million events, at the ten million a second of the published runs.
    fn default() -> Self {
        Self {
            events: 1_000_000,
            events_per_second: 10_000_000,
            seed: 0,
        }
    }
}

/// Makes events.
///
/// ```
/// use rivus_nexmark::{Generator, NexmarkConfig, NexmarkEvent};
///
/// let generator = Generator::new(NexmarkConfig::default());
/// assert!(matches!(generator.event(0), NexmarkEvent::Person(_)));
/// assert!(matches!(generator.event(3), NexmarkEvent::Auction(_)));
/// assert_eq!(generator.event(4), generator.event(4));
/// ```
#[derive(Debug, Clone)]
pub struct Generator {
    config: NexmarkConfig,
    tables: Arc<Tables>,
}

/// What is looked up in the place of being made anew for every event.
///
/// Texts are cut out of one long text, as those of TPC-H are: to make their letters up one by one took longer than all the rest.
#[derive(Debug)]
struct Tables {
    hot_channels: [Channel; 4],
    channels: Vec<Channel>,
    text: String,
    /// Prices in cents whose logarithms are evenly spread, the least and the greatest among them.
    prices: Vec<f64>,
}

impl Tables {
    fn new(seed: u64) -> Self {
        // Numbers that no event draws.
        let mut rng = SplitMix::of(seed, u64::MAX);
        let letters = (0..TEXT).map(|_| char::from(b'a' + rng.below(26) as u8));
        let text: String = letters.collect();
        let steps = 0..=PRICES;
        let mut tables = Self {
            hot_channels: HOT_NAMES.map(|name| Channel {
                name: name.to_owned(),
                url: String::new(),
            }),
            channels: Vec::new(),
            text,
            prices: steps
                .map(|step| 10_f64.powf(2.0 + 6.0 * step as f64 / PRICES as f64))
                .collect(),
        };
        let hot_pages: [String; 4] = std::array::from_fn(|_| tables.page(&mut rng));
        for (channel, page) in tables.hot_channels.iter_mut().zip(hot_pages) {
            channel.url = page;
        }
        let channels = (0..CHANNELS).map(|number| {
            let mut url = tables.page(&mut rng);
            if rng.below(10) > 0 {
                let id = (number as i32).reverse_bits().unsigned_abs();
                url += &format!("&channel_id={id}");
            }
            Channel {
                name: format!("channel-{number}"),
                url,
            }
        });
        tables.channels = channels.collect();
        tables
    }

    /// A page of the house, three folders deep.
    fn page(&self, rng: &mut SplitMix) -> String {
        let mut url = "https://www.nexmark.com/".to_owned();
        for _ in 0..3 {
            let length = 3 + rng.below(2);
            url += self.letters(rng, length);
            url.push('/');
        }
        url + "item.htm?query=1"
    }

    /// So many small letters.
    fn letters(&self, rng: &mut SplitMix, length: u64) -> &str {
        let length = length as usize;
        let start = rng.below((TEXT - LONGEST) as u64) as usize;
        self.text.get(start..start + length).unwrap_or_default()
    }

    /// What a record needs to get to its usual size, a fifth of that more or less.
    fn filling(&self, rng: &mut SplitMix, there: u64, usual: u64) -> &str {
        let about = usual.saturating_sub(there);
        let fifth = about / 5;
        let length = about - fifth + rng.below(2 * fifth + 1);
        self.letters(rng, length)
    }

    /// Between two of the prices there are on a straight line.
    fn price(&self, rng: &mut SplitMix) -> u64 {
        let at = rng.unit() * PRICES as f64;
        let (below, above) = (self.prices[at as usize], self.prices[at as usize + 1]);
        (below + (above - below) * at.fract()) as u64
    }
}

#[derive(Debug)]
struct Channel {
    name: String,
    url: String,
}

impl Generator {
    /// Of this configuration.
    pub fn new(config: NexmarkConfig) -> Self {
        Self {
            config,
            tables: Arc::new(Tables::new(config.seed)),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> NexmarkConfig {
        self.config
    }

    /// When event `number` happens, milliseconds since the epoch.
    pub fn date_time(&self, number: u64) -> Timestamp {
        BEGIN + (number.saturating_mul(1_000) / self.config.events_per_second.max(1)) as Timestamp
    }

    /// Event `number`, from 0.
    pub fn event(&self, number: u64) -> NexmarkEvent {
        self.draw(number, &mut SplitMix::of(self.config.seed, number))
    }

    /// The same from the numbers that are drawn for it.
    fn draw(&self, number: u64, rng: &mut SplitMix) -> NexmarkEvent {
        match number % EPOCH {
            rest if rest < PERSONS => NexmarkEvent::Person(Box::new(self.person(number, rng))),
            rest if rest < PERSONS + AUCTIONS => {
                NexmarkEvent::Auction(Box::new(self.auction(number, rng)))
            }
            _ => NexmarkEvent::Bid(self.bid(number, rng)),
        }
    }

    /// All events, for one who reads them in order.
    pub fn events(&self) -> impl Iterator<Item = NexmarkEvent> {
        (0..self.config.events).map(|number| self.event(number))
    }

    /// All events as a source, with their times; its splits take turns with them.
    pub fn source(&self) -> GeneratorSource<NexmarkEvent> {
        self.source_noted(|_| {})
    }

    /// The same, and somebody is told the number of each event that is about to be made.
    pub fn source_noted(
        &self,
        note: impl Fn(u64) + Send + Sync + 'static,
    ) -> GeneratorSource<NexmarkEvent> {
        let generator = self.clone();
        let make = move |number, rng: &mut SplitMix| {
            note(number);
            generator.draw(number, rng)
        };
        GeneratorSource::new(make)
            .seed(self.config.seed)
            .count(self.config.events)
            .timestamps(NexmarkEvent::date_time)
    }

    fn person(&self, number: u64, rng: &mut SplitMix) -> Person {
        let first = FIRST_NAMES[rng.below(FIRST_NAMES.len() as u64) as usize];
        let last = LAST_NAMES[rng.below(LAST_NAMES.len() as u64) as usize];
        let name = [first, " ", last].concat();
        let tables = &*self.tables;
        let (user, host) = (tables.letters(rng, 5), tables.letters(rng, 4));
        let email_address = [user, "@", host, ".com"].concat();
        let group = |rng: &mut SplitMix| format!("{:04}", rng.below(10_000));
        let credit_card = [group(rng), group(rng), group(rng), group(rng)].join(" ");
        let city = CITIES[rng.below(CITIES.len() as u64) as usize].to_owned();
        let state = STATES[rng.below(STATES.len() as u64) as usize].to_owned();
        let strings = [&name, &email_address, &credit_card, &city, &state];
        let there = 16 + strings.iter().map(|text| text.len() as u64).sum::<u64>();
        Person {
            id: FIRST_ID + last_person(number),
            name,
            email_address,
            credit_card,
            city,
            state,
            date_time: self.date_time(number),
            extra: tables.filling(rng, there, PERSON_BYTES).to_owned(),
        }
    }

    fn auction(&self, number: u64, rng: &mut SplitMix) -> Auction {
        let date_time = self.date_time(number);
        let ahead = AUCTIONS_IN_FLIGHT * EPOCH / AUCTIONS;
        let horizon = (self.date_time(number + ahead) - date_time) as u64;
        let tables = &*self.tables;
        let initial_bid = tables.price(rng);
        let item_length = 3 + rng.below(17);
        let item_name = tables.letters(rng, item_length).to_owned();
        let description_length = 3 + rng.below(97);
        let description = tables.letters(rng, description_length).to_owned();
        let seller = match rng.below(HOT_SELLERS) {
            0 => a_person(number, rng),
            _ => last_person(number) / HOT_EVERY * HOT_EVERY,
        };
        let there = 56 + (item_name.len() + description.len()) as u64;
        Auction {
            id: FIRST_ID + last_auction(number),
            item_name,
            description,
            initial_bid,
            reserve: initial_bid + tables.price(rng),
            date_time,
            expires: date_time + 1 + rng.below((2 * horizon).max(1)) as Timestamp,
            seller: FIRST_ID + seller,
            category: FIRST_CATEGORY + rng.below(5),
            extra: tables.filling(rng, there, AUCTION_BYTES).to_owned(),
        }
    }

    fn bid(&self, number: u64, rng: &mut SplitMix) -> Bid {
        let auction = match rng.below(HOT_AUCTIONS) {
            0 => an_auction(number, rng),
            _ => last_auction(number) / HOT_EVERY * HOT_EVERY,
        };
        let bidder = match rng.below(HOT_BIDDERS) {
            0 => a_person(number, rng),
            _ => last_person(number) / HOT_EVERY * HOT_EVERY + 1,
        };
        let price = self.tables.price(rng);
        let channel = match rng.below(HOT_CHANNELS) {
            0 => &self.tables.channels[rng.below(CHANNELS) as usize],
            _ => &self.tables.hot_channels[rng.below(HOT_NAMES.len() as u64) as usize],
        };
        let there = 32 + (channel.name.len() + channel.url.len()) as u64;
        let extra = self.tables.filling(rng, there, BID_BYTES);
        Bid::new(
            FIRST_ID + auction,
            FIRST_ID + bidder,
            price,
            self.date_time(number),
            [&channel.name, &channel.url, extra],
        )
    }
}

/// The number of the last person at an event, counted from 0.
fn last_person(number: u64) -> u64 {
    number / EPOCH
}

/// The number of the last auction at an event, counted from 0. Before the first one it is the first all the same.
fn last_auction(number: u64) -> u64 {
    let begun = (number % EPOCH + 1).saturating_sub(PERSONS).min(AUCTIONS);
    (number / EPOCH * AUCTIONS + begun).saturating_sub(1)
}

/// One of those who are active, or who will be soon.
fn a_person(number: u64, rng: &mut SplitMix) -> u64 {
    let persons = last_person(number) + 1;
    let active = persons.min(ACTIVE_PERSONS);
    persons - active + rng.below(active + LEAD)
}

/// One of those that are in flight, or that will be soon.
fn an_auction(number: u64, rng: &mut SplitMix) -> u64 {
    let last = last_auction(number);
    let first = last.saturating_sub(AUCTIONS_IN_FLIGHT);
    first + rng.below(last - first + 1 + LEAD)
}
