//! The sample stream, bit for bit that of the NumPy reference (`python/toysup/_stream/stream.py`,
//! which defines it). Example `t` is a function of `(seed, role, t)` alone.

use std::sync::atomic::AtomicBool;

use crate::error::{Error, Result, check};
use crate::math::normal_quantile;
use crate::memory;

/// What a stream is for; the second word of its key.
pub mod role {
    /// Training examples.
    pub const TRAIN: u64 = 1;
    /// Test examples.
    pub const TEST: u64 = 2;
    /// Initial weights.
    pub const INIT: u64 = 3;
    /// Rows of a data set, drawn with replacement.
    pub const DRAWS: u64 = 5;
    /// The order of the examples in an epoch.
    pub const EPOCH: u64 = 10;
}

/// One block of Philox4x64-10 (Salmon et al. 2011).
pub fn philox(mut key: [u64; 2], mut c: [u64; 4]) -> [u64; 4] {
    let multiply = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        ((product >> 64) as u64, product as u64)
    };
    for _ in 0..10 {
        let (hi0, lo0) = multiply(0xD2E7_470E_E14C_6C93, c[0]);
        let (hi1, lo1) = multiply(0xCA5A_8263_9512_1157, c[2]);
        c = [hi1 ^ c[1] ^ key[0], lo1, hi0 ^ c[3] ^ key[1], lo0];
        key[0] = key[0].wrapping_add(0x9E37_79B9_7F4A_7C15);
        key[1] = key[1].wrapping_add(0xBB67_AE85_84CA_A73B);
    }
    c
}

/// The words of one substream of one example, in order.
struct Words {
    key: [u64; 2],
    example: u64,
    substream: u64,
    block: [u64; 4],
    next: u64,
}

impl Words {
    fn new(key: [u64; 2], example: u64, substream: u64) -> Self {
        Words {
            key,
            example,
            substream,
            block: [0; 4],
            next: 0,
        }
    }

    fn next(&mut self) -> u64 {
        if self.next.is_multiple_of(4) {
            self.block = philox(self.key, [self.next / 4, self.example, self.substream, 0]);
        }
        let word = self.block[(self.next % 4) as usize];
        self.next += 1;
        word
    }
}

const UNIT: f64 = 1.0 / (1u64 << 53) as f64;

/// Features that there may be: vectors of indices are signed.
pub const MOST_FEATURES: usize = i32::MAX as usize;
/// Examples of an update that there may be: their indices are u32, like those of features.
pub const MOST_EXAMPLES: usize = u32::MAX as usize;

/// Sparse examples as compressed rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Csr {
    /// Row `t` is `indptr[t] .. indptr[t + 1]`; never empty, the first entry is 0.
    pub indptr: Vec<usize>,
    /// Features, ascending within a row.
    pub indices: Vec<u32>,
    /// Values.
    pub values: Vec<f64>,
}

impl Csr {
    /// Number of examples.
    pub fn rows(&self) -> usize {
        self.indptr.len().saturating_sub(1)
    }

    /// Append copies of the rows of these numbers.
    pub fn repeat(&mut self, rows: &[u64]) {
        for &t in rows {
            let row = self.indptr[t as usize]..self.indptr[t as usize + 1];
            memory::reserve(&mut self.indices, row.len());
            memory::reserve(&mut self.values, row.len());
            memory::reserve(&mut self.indptr, 1);
            self.indices.extend_from_within(row.clone());
            self.values.extend_from_within(row);
            self.indptr.push(self.indices.len());
        }
    }

    /// The rows of these numbers.
    pub fn take(&self, rows: &[u32]) -> Csr {
        let range = |t: u32| self.indptr[t as usize]..self.indptr[t as usize + 1];
        let entries = rows.iter().map(|&t| range(t).len()).sum();
        let mut taken = Csr {
            indptr: memory::with_capacity(rows.len() + 1),
            indices: memory::with_capacity(entries),
            values: memory::with_capacity(entries),
        };
        taken.indptr.push(0);
        for &t in rows {
            taken.indices.extend_from_slice(&self.indices[range(t)]);
            taken.values.extend_from_slice(&self.values[range(t)]);
            taken.indptr.push(taken.indices.len());
        }
        taken
    }

    /// Refuse rows that do not fit together, or features that are not below `n`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with what is wrong.
    pub fn check(&self, n: usize) -> Result<()> {
        let entries = self.indices.len();
        let refuse = |text: String| Err(Error::Invalid(text));
        if self.values.len() != entries {
            return refuse(format!(
                "X has {entries} indices but {} values",
                self.values.len()
            ));
        }
        if self.indptr.first() != Some(&0)
            || self.indptr.last() != Some(&entries)
            || !self.indptr.is_sorted()
        {
            return refuse(format!(
                "X.indptr must rise from 0 to the number of entries, {entries}"
            ));
        }
        let rows = self.rows();
        if n > MOST_FEATURES || rows > MOST_EXAMPLES {
            return refuse(format!(
                "X must have at most {MOST_EXAMPLES} examples of {MOST_FEATURES} features, got {rows} of {n}"
            ));
        }
        match self.indices.iter().find(|&&i| i as usize >= n) {
            Some(i) => refuse(format!("X has the feature {i}, but there are only {n}")),
            None => Ok(()),
        }
    }
}

/// The probability that a feature of an example is zero.
#[derive(Debug, Clone, PartialEq)]
pub enum Sparsity {
    /// That of all features, in [0, 1).
    All(f64),
    /// That of each, in [0, 1], and not 1 for all.
    Each(Vec<f64>),
}

impl From<f64> for Sparsity {
    fn from(sparsity: f64) -> Self {
        Sparsity::All(sparsity)
    }
}

impl Sparsity {
    /// Refuse what are no probabilities, or not those of `n` features.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the value.
    pub fn check(&self, n: usize) -> Result<()> {
        let refuse = |text: String| Err(Error::Invalid(text));
        match self {
            Sparsity::All(s) if !(0.0..1.0).contains(s) => {
                refuse(format!("sparsity must be in [0, 1), got {s}"))
            }
            Sparsity::Each(all) if all.len() != n => refuse(format!(
                "sparsity must have n = {n} values, got {}",
                all.len()
            )),
            Sparsity::Each(all) => match all.iter().find(|s| !(0.0..=1.0).contains(*s)) {
                Some(s) => refuse(format!("sparsity must be in [0, 1], got {s}")),
                None if all.iter().all(|&s| s == 1.0) => refuse(
                    "sparsity must be below 1 for at least one feature, got 1 for all".into(),
                ),
                None => Ok(()),
            },
            Sparsity::All(_) => Ok(()),
        }
    }
}

/// How many of some features that are alike are non-zero.
#[derive(Debug, Clone)]
struct Counts {
    k0: usize,
    cumulative: Vec<f64>,
}

impl Counts {
    /// From Binomial(n, 1 - S).
    fn new(n: usize, sparsity: f64) -> Self {
        let (k0, cumulative) = binomial_table(n, sparsity);
        Counts { k0, cumulative }
    }

    /// By inversion of the distribution.
    fn of(&self, word: u64) -> usize {
        let u = (word >> 11) as f64 * UNIT;
        let found = self.cumulative.partition_point(|&c| c <= u);
        self.k0 + found.min(self.cumulative.len() - 1)
    }
}

/// Features whose probabilities to be non-zero are apart by less than a factor of 2.
///
/// Candidates are drawn as if all had the largest of these, and each is accepted by the ratio of its
/// own and the largest. Probabilities are multiples of 2^-53.
#[derive(Debug, Clone)]
struct Class {
    members: Vec<u32>,
    /// 2^53 times the probability of each, and the largest.
    chances: Vec<u64>,
    largest: u64,
    counts: Counts,
    /// Of the candidates; the next one is that of the acceptance.
    substream: u64,
}

/// The classes of features, the most frequent first.
fn classes(sparsity: &[f64]) -> Vec<Class> {
    let mut classes = Vec::new();
    let chance = |s: f64| ((1.0 - s) * (1u64 << 53) as f64) as u64;
    for halvings in 0..54 {
        let mut least = 1.0;
        let (mut members, mut chances) = (Vec::new(), Vec::new());
        for (j, &s) in sparsity.iter().enumerate() {
            if chance(s) > 0 && chance(s).leading_zeros() - 10 == halvings {
                memory::reserve(&mut members, 1);
                memory::reserve(&mut chances, 1);
                members.push(j as u32);
                chances.push(chance(s));
                least = f64::min(least, s);
            }
        }
        if !members.is_empty() {
            classes.push(Class {
                counts: Counts::new(members.len(), least),
                largest: chance(least),
                members,
                chances,
                substream: 2 + 2 * u64::from(halvings),
            });
        }
    }
    classes
}

/// How many and which features are non-zero.
#[derive(Debug, Clone)]
enum Law {
    Alike(Counts),
    Apart(Vec<Class>),
}

/// The distribution of the examples and the key of their stream.
#[derive(Debug, Clone)]
pub struct Stream {
    n: usize,
    key: [u64; 2],
    normalize: bool,
    law: Law,
}

impl Stream {
    /// The stream of `(seed, role)` with `n` features of that sparsity.
    pub fn new(
        n: usize,
        sparsity: impl Into<Sparsity>,
        seed: u64,
        role: u64,
        normalize: bool,
    ) -> Self {
        let law = match sparsity.into() {
            Sparsity::All(sparsity) => Law::Alike(Counts::new(n, sparsity)),
            Sparsity::Each(all) => Law::Apart(classes(&all)),
        };
        Stream {
            n,
            key: [seed, role],
            normalize,
            law,
        }
    }

    /// Examples `start .. stop`.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when `cancel` was set meanwhile.
    pub fn sample(&self, start: u64, stop: u64, cancel: &AtomicBool) -> Result<Csr> {
        let mut csr = Csr {
            indptr: vec![0],
            ..Csr::default()
        };
        let mut taken = Taken::default();
        for t in start..stop {
            if t % 1024 == 0 {
                check(cancel)?;
            }
            self.push(t, &mut csr, &mut taken);
        }
        Ok(csr)
    }

    fn push(&self, t: u64, csr: &mut Csr, taken: &mut Taken) {
        let first = csr.indices.len();
        memory::reserve(&mut csr.indptr, 1);
        match &self.law {
            Law::Alike(counts) => {
                let mut words = Words::new(self.key, t, 0);
                let count = counts.of(words.next());
                taken.draw(self.n, count, &mut words, self.n, &mut csr.indices);
            }
            Law::Apart(classes) => {
                classes
                    .iter()
                    .for_each(|class| self.accepted(class, t, csr, taken));
                csr.indices[first..].sort_unstable();
            }
        }
        let count = csr.indices.len() - first;
        memory::reserve(&mut csr.values, count);
        let mut words = Words::new(self.key, t, 1);
        let mut square = 0.0;
        for _ in 0..count {
            let value = ((words.next() >> 11) + 1) as f64 * UNIT;
            square += value * value;
            csr.values.push(value);
        }
        if self.normalize && count > 0 {
            let norm = f64::sqrt(square);
            csr.values[first..].iter_mut().for_each(|v| *v /= norm);
        }
        csr.indptr.push(csr.indices.len());
    }

    /// Append the non-zero features of a class.
    fn accepted(&self, class: &Class, t: u64, csr: &mut Csr, taken: &mut Taken) {
        let n = class.members.len();
        let mut words = Words::new(self.key, t, class.substream);
        let count = class.counts.of(words.next());
        let mut candidates = std::mem::take(&mut taken.candidates);
        candidates.clear();
        taken.draw(n, count, &mut words, self.n, &mut candidates);
        let mut words = Words::new(self.key, t, class.substream + 1);
        memory::reserve(&mut csr.indices, count);
        for &i in &candidates {
            let product = u128::from(words.next()) * u128::from(class.largest);
            if ((product >> 64) as u64) < class.chances[i as usize] {
                csr.indices.push(class.members[i as usize]);
            }
        }
        taken.candidates = candidates;
    }
}

/// Which features the current example has already drawn.
#[derive(Default)]
struct Taken {
    bits: Vec<u64>,
    marked: Vec<u32>,
    /// Of a class.
    candidates: Vec<u32>,
}

impl Taken {
    /// Append `count` numbers below `n`, ascending: candidates are drawn until so many are distinct.
    /// Above n / 2 the others are drawn instead. No `n` is larger than `most`.
    fn draw(&mut self, n: usize, count: usize, words: &mut Words, most: usize, out: &mut Vec<u32>) {
        memory::reserve(out, count);
        let swap = count > n / 2;
        let wanted = if swap { n - count } else { count };
        let threshold = (n as u64).wrapping_neg() % n as u64;
        self.clear(most);
        let first = out.len();
        while self.marked.len() < wanted {
            let product = u128::from(words.next()) * n as u128;
            if product as u64 >= threshold {
                self.mark((product >> 64) as u32);
            }
        }
        if swap {
            out.extend((0..n as u32).filter(|&i| !self.is_marked(i)));
        } else {
            out.extend_from_slice(&self.marked);
            out[first..].sort_unstable();
        }
    }

    fn clear(&mut self, n: usize) {
        if self.bits.is_empty() {
            self.bits = memory::zeros(n.div_ceil(64));
        }
        for &i in &self.marked {
            self.bits[i as usize / 64] = 0;
        }
        self.marked.clear();
    }

    fn is_marked(&self, i: u32) -> bool {
        self.bits[i as usize / 64] >> (i % 64) & 1 == 1
    }

    fn mark(&mut self, i: u32) {
        if !self.is_marked(i) {
            self.bits[i as usize / 64] |= 1 << (i % 64);
            memory::reserve(&mut self.marked, 1);
            self.marked.push(i);
        }
    }
}

/// Draws `start .. stop` of one of `rows` rows each, with replacement, as the reference has them
/// (`python/toysup/_stream/rows.py`).
pub fn draws(seed: u64, rows: u64, start: u64, stop: u64) -> impl Iterator<Item = u64> {
    let threshold = rows.wrapping_neg() % rows;
    let key = [seed, role::DRAWS];
    (start..stop).map(move |at| {
        let word = |attempt| philox(key, [at / 4, attempt, 0, 0])[(at % 4) as usize];
        let mut products = (0..).map(|attempt| u128::from(word(attempt)) * u128::from(rows));
        let found = products.find(|&product| product as u64 >= threshold);
        (found.expect("attempts do not end") >> 64) as u64
    })
}

/// `(k0, c)` with `c[i] = P(K <= k0 + i)` for `K` from Binomial(n, 1 - S).
fn binomial_table(n: usize, sparsity: f64) -> (usize, Vec<f64>) {
    let p = 1.0 - sparsity;
    if sparsity == 0.0 {
        return (n, vec![1.0]);
    }
    let odds = p / sparsity;
    let mode = n.min(((n + 1) as f64 * p) as usize);
    let mut down = Vec::new();
    let mut weight = 1.0;
    for k in (1..=mode).rev() {
        weight = weight * k as f64 / ((n - k + 1) as f64 * odds);
        if weight < 1e-25 {
            break;
        }
        down.push(weight);
    }
    let k0 = mode - down.len();
    let mut table: Vec<f64> = down.into_iter().rev().chain([1.0]).collect();
    weight = 1.0;
    for k in mode..n {
        weight = weight * ((n - k) as f64 * odds) / (k + 1) as f64;
        if weight < 1e-25 {
            break;
        }
        table.push(weight);
    }
    let mut total = 0.0;
    for w in &mut table {
        total += *w;
        *w = total;
    }
    table.iter_mut().for_each(|w| *w /= total);
    (k0, table)
}

/// The numbers below `count` in the order of an epoch: sorted by words, number i by word i.
///
/// # Errors
/// [`Error::Cancelled`] when `cancel` was set meanwhile.
pub fn epoch_order(seed: u64, epoch: u64, count: usize, cancel: &AtomicBool) -> Result<Vec<u32>> {
    let mut sorted: Vec<(u64, u32)> = memory::with_capacity(count);
    let mut block = [0; 4];
    for i in 0..count as u32 {
        if i.is_multiple_of(4) {
            block = philox([seed, role::EPOCH], [u64::from(i / 4), epoch, 0, 0]);
        }
        sorted.push((block[i as usize % 4], i));
    }
    check(cancel)?;
    sorted.sort_unstable();
    check(cancel)?;
    Ok(memory::collect(count, sorted.into_iter().map(|(_, i)| i)))
}

/// How the initial W is drawn (Glorot and Bengio 2010).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Init {
    /// Uniform on ±sqrt(6 / (n + m)).
    XavierUniform,
    /// Normal with standard deviation sqrt(2 / (n + m)).
    XavierNormal,
}

/// The initial W in row-major order: element `k n + j` comes from that word of the init stream.
pub fn initial_weights(n: usize, m: usize, init: Init, seed: u64) -> impl Iterator<Item = f64> {
    let mut block = [0; 4];
    let total = (n + m) as f64;
    (0..n * m).map(move |e| {
        if e % 4 == 0 {
            block = philox([seed, role::INIT], [e as u64 / 4, 0, 0, 0]);
        }
        let u = ((block[e % 4] >> 12) as f64 + 0.5) * (2.0 * UNIT);
        match init {
            Init::XavierUniform => (2.0 * u - 1.0) * f64::sqrt(6.0 / total),
            Init::XavierNormal => normal_quantile(u) * f64::sqrt(2.0 / total),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_philox() {
        // As numpy.random.Philox gives them.
        let known = [
            (
                [0; 2],
                [0; 4],
                [
                    1609277786247541068,
                    15789900245555285980,
                    15557529670647158635,
                    9108730954146095675,
                ],
            ),
            (
                [3, 1],
                [5, 7, 11, 0],
                [
                    18371224897508205071,
                    17204065559603850047,
                    4841368419223006531,
                    18401569523005933933,
                ],
            ),
            (
                [u64::MAX; 2],
                [u64::MAX; 4],
                [
                    9777476157258590475,
                    4867331713556873764,
                    11297235438317041590,
                    11573317279295671200,
                ],
            ),
        ];
        for (key, counter, words) in known {
            assert_eq!(philox(key, counter), words);
        }
    }

    #[test]
    fn examples_and_weights_are_those_of_the_reference() {
        let never = AtomicBool::new(false);
        let sample = |n, sparsity: Sparsity| {
            let stream = Stream::new(n, sparsity, 3, role::TRAIN, false);
            stream.sample(7, 10, &never).unwrap()
        };
        let values = [
            0.9076887754391072,
            0.216021721636118,
            0.47071340948831175,
            0.8341703345967675,
            0.0923495842760218,
            0.22375528234001574,
            0.09811462550026762,
            0.6717193740923043,
            0.33390493330632187,
        ];
        let csr = sample(6, 0.7.into());
        assert_eq!(csr.indptr, [0, 1, 4, 9]);
        assert_eq!(csr.indices, [3, 3, 4, 5, 0, 1, 3, 4, 5]);
        assert_eq!(csr.values, values);
        let csr = sample(4, Sparsity::Each(vec![0.0, 0.5, 0.9, 1.0]));
        assert_eq!(csr.indptr, [0, 2, 4, 5]);
        assert_eq!(csr.indices, [0, 1, 0, 1, 0]);
        assert_eq!(
            csr.values,
            [
                values[0],
                0.7695455374090574,
                values[1],
                values[2],
                values[4]
            ]
        );
        let csr = Stream::new(6, 0.7, 3, role::TEST, true);
        let csr = csr.sample(7, 10, &never).unwrap();
        assert_eq!(csr.indptr, [0, 0, 2, 3]);
        assert_eq!(csr.values, [0.6501538318545061, 0.7598026026047177, 1.0]);
        let w: Vec<f64> = initial_weights(3, 2, Init::XavierUniform, 5).collect();
        assert_eq!(
            w,
            [
                0.9592864474175868,
                -0.9415656464474309,
                -0.47127931138888324,
                -0.771098055469445,
                0.5511682332422565,
                -0.19387085795871298,
            ]
        );
        let w: Vec<f64> = initial_weights(3, 2, Init::XavierNormal, 5).collect();
        assert_eq!(
            w,
            [
                0.9720790389729458,
                -0.9322617648103155,
                -0.35946962599109483,
                -0.6608284143682593,
                0.4297201493670032,
                -0.14145577076782576,
            ]
        );
    }

    #[test]
    fn absurd_arguments_end_in_an_error_or_a_panic() {
        let never = AtomicBool::new(false);
        let good = Csr {
            indptr: vec![0, 1],
            indices: vec![2],
            values: vec![f64::NAN],
        };
        assert!(good.check(3).is_ok() && good.check(2).is_err() && good.check(0).is_err());
        assert!(good.check(usize::MAX).is_err());
        let nothing = Csr::default();
        assert!(nothing.rows() == 0 && nothing.check(3).is_err());
        for indptr in [
            vec![],
            vec![1],
            vec![0, 2],
            vec![0, usize::MAX, 1],
            vec![1, 1],
        ] {
            assert!(
                Csr {
                    indptr,
                    ..good.clone()
                }
                .check(3)
                .is_err()
            );
        }
        assert!(std::panic::catch_unwind(|| good.take(&[1])).is_err());
        assert!(std::panic::catch_unwind(|| nothing.take(&[0])).is_err());
        assert!(std::panic::catch_unwind(|| good.clone().repeat(&[u64::MAX])).is_err());
        let none = || Stream::new(0, 0.5, 0, 0, true).sample(0, 1, &AtomicBool::new(false));
        assert!(std::panic::catch_unwind(none).is_err());
        for sparsity in [f64::NAN, -1.0, 2.0, 1.0, f64::INFINITY] {
            let drawn = Stream::new(5, sparsity, 0, 0, true)
                .sample(0, 3, &never)
                .unwrap();
            assert!(drawn.check(5).is_ok());
        }
        assert_eq!(
            Stream::new(5, 0.5, 0, 0, true)
                .sample(3, 1, &never)
                .unwrap()
                .rows(),
            0
        );
    }

    #[test]
    fn any_range_of_the_stream_is_a_part_of_the_whole() {
        for sparsity in [0.0, 0.3, 0.9, 0.999] {
            let stream = Stream::new(50, sparsity, 3, role::TRAIN, true);
            let never = AtomicBool::new(false);
            let whole = stream.sample(0, 20, &never).unwrap();
            let part = stream.sample(7, 9, &never).unwrap();
            let range = whole.indptr[7]..whole.indptr[9];
            assert_eq!(part.indices, whole.indices[range.clone()]);
            assert_eq!(part.values, whole.values[range]);
        }
    }

    #[test]
    fn draws_are_those_of_the_reference() {
        let drawn = |seed, rows, start, stop| draws(seed, rows, start, stop).collect::<Vec<_>>();
        assert_eq!(drawn(3, 10, 0, 6), [2, 9, 5, 3, 0, 3]);
        assert_eq!(
            drawn(7, (1 << 32) - 1, 1 << 40, (1 << 40) + 3),
            [1011677226, 930437958, 3098815128]
        );
        assert_eq!(
            drawn(7, 3 << 61, 0, 8),
            [
                4172337263246099266,
                91692768963722628,
                3632738012530261050,
                4193313096755404610,
                337159192627196170,
                5609578295437656447,
                2375720809781276744,
                1872813356198600374
            ]
        );
    }

    #[test]
    fn the_order_of_an_epoch_is_known() {
        let never = AtomicBool::new(false);
        let order = |epoch| epoch_order(5, epoch, 10, &never).unwrap();
        assert_eq!(order(0), [6, 1, 4, 3, 2, 0, 8, 7, 5, 9]);
        assert_eq!(order(1), [8, 9, 4, 5, 0, 6, 1, 2, 3, 7]);
        assert_eq!(epoch_order(5, 0, 1, &never).unwrap(), [0]);
        assert!(epoch_order(5, 0, 10, &AtomicBool::new(true)).is_err());
    }

    #[test]
    fn features_apart_are_as_frequent_as_they_shall_be() {
        let sparsity = [0.0, 1.0, 0.3, 0.5, 0.9, 0.95, 0.999, 1.0 - UNIT];
        let never = AtomicBool::new(false);
        let stream = Stream::new(8, Sparsity::Each(sparsity.to_vec()), 3, role::TRAIN, true);
        let csr = stream.sample(0, 20_000, &never).unwrap();
        let mut found = [0.0; 8];
        csr.indices.iter().for_each(|&i| found[i as usize] += 1.0);
        for (found, s) in found.into_iter().zip(sparsity) {
            let deviation = f64::sqrt(20_000.0 * s * (1.0 - s));
            assert!((found - 20_000.0 * (1.0 - s)).abs() <= 4.0 * deviation);
        }
        let part = stream.sample(700, 703, &never).unwrap();
        let range = csr.indptr[700]..csr.indptr[703];
        assert_eq!(part.indices, csr.indices[range.clone()]);
        assert_eq!(part.values, csr.values[range]);
        assert!(csr.check(8).is_ok());
    }

    #[test]
    fn what_is_no_sparsity_is_refused() {
        let each = |all: &[f64]| Sparsity::Each(all.to_vec()).check(2).is_ok();
        assert!(each(&[0.0, 1.0]) && each(&[0.5, 0.25]));
        assert!(
            !each(&[1.0, 1.0]) && !each(&[0.5]) && !each(&[0.5, 1.5]) && !each(&[f64::NAN, 0.5])
        );
        let all = |s: f64| Sparsity::All(s).check(2).is_ok();
        assert!(all(0.0) && all(0.999) && !all(1.0) && !all(-0.1) && !all(f64::NAN));
    }

    #[test]
    fn rows_are_taken_in_any_order() {
        let never = AtomicBool::new(false);
        let whole = Stream::new(9, 0.5, 2, role::TRAIN, true)
            .sample(0, 6, &never)
            .unwrap();
        let part = whole.take(&[4, 0, 4]);
        for (i, t) in [4, 0, 4].into_iter().enumerate() {
            let (ours, theirs) = (
                part.indptr[i]..part.indptr[i + 1],
                whole.indptr[t]..whole.indptr[t + 1],
            );
            assert_eq!(part.indices[ours.clone()], whole.indices[theirs.clone()]);
            assert_eq!(part.values[ours], whole.values[theirs]);
        }
        assert!(part.check(9).is_ok() && whole.take(&[]).rows() == 0);
    }

    #[test]
    fn rows_are_sorted_distinct_and_of_unit_norm() {
        let csr = Stream::new(40, 0.5, 1, role::TEST, true)
            .sample(0, 200, &AtomicBool::new(false))
            .unwrap();
        for t in 0..csr.rows() {
            let range = csr.indptr[t]..csr.indptr[t + 1];
            assert!(csr.indices[range.clone()].is_sorted_by(|a, b| a < b));
            let square: f64 = csr.values[range].iter().map(|v| v * v).sum();
            assert!((square - 1.0).abs() < 1e-14);
        }
    }
}
