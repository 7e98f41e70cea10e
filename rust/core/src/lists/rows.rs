//! Rows of entries in one pool, each with some room to grow.

use std::sync::atomic::{AtomicI64, Ordering};

use crate::memory;

/// Entries that a row may have, and how many different ones there may be: they and the lengths are u16.
/// No tile has more examples.
pub const LONGEST: usize = u16::MAX as usize;
/// With more entries a pool may have no room for a row of any length any more: where a row begins is a
/// u32. Whoever adds to rows asks [`Room`] after each.
const FULL: usize = u32::MAX as usize - 2 * LONGEST;

/// Rows that are sorted together: few enough for the caches to hold what belongs to them.
const BLOCK: usize = 512;
/// Rows at least this long count as equally long.
const LONG: usize = 255;

/// Where a row lies.
#[derive(Clone, Copy, Default)]
struct Row {
    start: u32,
    len: u16,
    room: u16,
    /// Number of entries that would be there without any skin.
    bare: u16,
    /// Number of entries at the beginning that are in rising order.
    rising: u16,
}

/// A number of rows of at most [`LONGEST`] entries.
pub struct Rows {
    rows: Vec<Row>,
    pool: Vec<u16>,
    live: usize,
    /// Rows that were not empty when last sorted, the short ones first.
    order: Vec<u32>,
    /// Whether a row is in `order`.
    ordered: Vec<bool>,
}

impl Rows {
    /// That many empty rows.
    pub fn new(count: usize) -> Self {
        Rows {
            rows: memory::filled(count, Row::default()),
            pool: Vec::new(),
            live: 0,
            order: memory::with_capacity(count),
            ordered: memory::zeros(count),
        }
    }

    /// Number of rows.
    #[inline(always)]
    pub fn count(&self) -> usize {
        self.rows.len()
    }

    /// Number of entries, of entries that would be there without any skin, and of rows with entries.
    pub fn totals(&self) -> (u64, u64, u64) {
        let mut totals = (0, 0, 0);
        for row in &self.rows {
            totals.0 += u64::from(row.len);
            totals.1 += u64::from(row.bare.min(row.len));
            totals.2 += u64::from(row.len > 0);
        }
        totals
    }

    /// Entries that the pool has room for.
    pub fn size(&self) -> usize {
        self.pool.len()
    }

    /// The entries of row i.
    #[inline(always)]
    pub fn row(&self, i: usize) -> &[u16] {
        let row = self.rows[i];
        &self.pool[row.start as usize..][..usize::from(row.len)]
    }

    /// The rows that may have entries, each once; in each block rows of the same length follow one
    /// another, so that loops over them are predictable.
    #[inline(always)]
    pub fn order(&self) -> &[u32] {
        &self.order
    }

    /// Sort the order anew.
    pub fn sort(&mut self) {
        self.order.clear();
        for (block, rows) in self.rows.chunks(BLOCK).enumerate() {
            let bucket = |row: &Row| usize::from(row.len).min(LONG);
            let mut starts = [0usize; LONG + 2];
            for row in rows {
                starts[bucket(row) + 1] += usize::from(row.len > 0);
            }
            for i in 0..=LONG {
                starts[i + 1] += starts[i];
            }
            let before = self.order.len();
            self.order.resize(before + starts[LONG + 1], 0);
            for (i, row) in rows.iter().enumerate() {
                self.ordered[block * BLOCK + i] = row.len > 0;
                if row.len > 0 {
                    let at = &mut starts[bucket(row)];
                    self.order[before + *at] = (block * BLOCK + i) as u32;
                    *at += 1;
                }
            }
        }
    }

    /// Row i becomes `entries`, which rise; `bare` of them would be there without any skin.
    #[inline(always)]
    pub fn set(&mut self, i: usize, entries: &[u16], bare: usize) {
        let row = self.rows[i];
        let len = entries.len();
        self.live = self.live + len - usize::from(row.len);
        if len > usize::from(row.room) {
            self.give_room(i, room(len));
        }
        let row = &mut self.rows[i];
        row.len = length(len);
        row.bare = bare.min(LONGEST) as u16;
        row.rising = length(len);
        self.pool[row.start as usize..][..len].copy_from_slice(entries);
        self.enlist(i);
    }

    /// Add the entries `first` + k to row i, for each bit k of `bits` below 16, that are not there.
    #[inline(always)]
    pub fn add(&mut self, i: usize, first: u16, mut bits: u32) {
        // No closures: they would not have the instruction set.
        let (rising, rest) = self.row(i).split_at(usize::from(self.rows[i].rising));
        let (mut from, mut left) = (0, rising.len());
        while left > 0 {
            let half = left / 2;
            let below = rising[from + half] < first;
            (from, left) = if below {
                (from + half + 1, left - half - 1)
            } else {
                (from, half)
            };
        }
        let mut there = 0;
        for part in [&rising[from..rising.len().min(from + 16)], rest] {
            for &e in part {
                let k = e.wrapping_sub(first);
                there |= u32::from(k < 16) << (k & 15);
            }
        }
        bits &= !there;
        while bits != 0 {
            self.push(i, first + bits.trailing_zeros() as u16);
            bits &= bits - 1;
        }
    }

    /// Add an entry that is not there yet to row i.
    #[inline(always)]
    pub fn push(&mut self, i: usize, entry: u16) {
        let row = self.rows[i];
        let (start, len) = (row.start as usize, usize::from(row.len));
        if row.len == row.room {
            self.give_room(i, room(len + 1));
            let new = self.rows[i].start as usize;
            self.pool.copy_within(start..start + len, new);
        }
        let row = &mut self.rows[i];
        self.pool[row.start as usize + len] = entry;
        row.len += 1;
        self.live += 1;
        self.enlist(i);
    }

    /// A new place for row i, with that room, at the end of the pool.
    #[cold]
    #[inline(never)]
    fn give_room(&mut self, i: usize, room: u16) {
        let end = self.pool.len();
        memory::reserve(&mut self.pool, usize::from(room));
        self.pool.resize(end + usize::from(room), 0);
        self.rows[i].start = begin(end);
        self.rows[i].room = room;
    }

    #[inline(always)]
    fn enlist(&mut self, i: usize) {
        if self.rows[i].len > 0 && !self.ordered[i] {
            self.ordered[i] = true;
            self.order.push(i as u32);
        }
    }

    /// Drop what rows that moved have left behind, if that is much.
    pub fn compact(&mut self) {
        if self.pool.len() <= self.live + self.live / 2 + 8 * self.rows.len() {
            return;
        }
        let mut pool = memory::with_capacity(self.live + self.live / 4 + 2 * self.rows.len());
        for row in &mut self.rows {
            let len = usize::from(row.len);
            let old = row.start as usize..row.start as usize + len;
            // Not longer than the old one was.
            row.start = begin(pool.len());
            row.room = if len == 0 { 0 } else { room(len) };
            pool.extend_from_slice(&self.pool[old]);
            pool.resize(row.start as usize + usize::from(row.room), 0);
        }
        self.pool = pool;
    }
}

/// Entries by which the lists of all tiles may yet grow, together.
pub struct Room(AtomicI64);

impl Room {
    /// More than all lists of a run can have.
    const MOST: i64 = 1 << 48;

    /// For lists that have room for `size` entries, and may have room for `limit`.
    pub fn new(limit: usize, size: usize) -> Self {
        let left = limit.saturating_sub(size).min(Self::MOST as usize);
        Room(AtomicI64::new(left as i64))
    }

    /// Whether they grew by more. Then some tiles have stopped growing, which ones depends on who came
    /// first; whether any did, does not.
    #[inline(always)]
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) < 0
    }

    /// The same after `rows` have grown from `size`, which is brought up to date.
    #[inline(always)]
    pub fn is_over_after(&self, rows: &Rows, size: &mut usize) -> bool {
        let new = rows.pool.len();
        if new == *size {
            return false;
        }
        if !self.is_over() {
            let grown = if new > FULL {
                2 * Self::MOST
            } else {
                (new - *size) as i64
            };
            *size = new;
            self.0.fetch_sub(grown, Ordering::Relaxed);
        }
        self.is_over()
    }
}

/// The length of a row.
#[inline(always)]
fn length(len: usize) -> u16 {
    u16::try_from(len).expect("a row has at most 65,535 entries")
}

/// Where a row begins.
#[inline(always)]
fn begin(at: usize) -> u32 {
    u32::try_from(at).expect("a pool has fewer than 2^32 entries")
}

/// Room for a row of `len` entries.
fn room(len: usize) -> u16 {
    length(len.max(LONGEST.min(len + len / 4 + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "too slow")]
    fn the_longest_rows_keep_their_entries() {
        let all: Vec<u16> = (0..LONGEST).map(|e| e as u16).collect();
        let mut rows = Rows::new(4);
        rows.set(0, &all, LONGEST);
        for &e in &all {
            rows.push(1, e);
        }
        // All but a bit that is no entry yet are there, in rising order and behind it.
        rows.set(3, &[1, 5, 18, 33], 0);
        for (first, bits) in [(0, 0b11), (16, 0b101), (16, 0b111), (0, 0x8000)] {
            rows.add(3, first, bits);
        }
        assert_eq!(rows.row(3), [1, 5, 18, 33, 0, 16, 17, 15]);
        rows.set(3, &[], 0);
        rows.add(1, 16, 0xFFFF);
        rows.set(2, &all[..3], 0);
        for _ in 0..2 {
            for i in 0..2 {
                assert_eq!(rows.row(i), all);
            }
            assert_eq!(rows.row(2), &all[..3]);
            assert_eq!(rows.totals(), (2 * LONGEST as u64 + 3, LONGEST as u64, 3));
            rows.set(0, &[], 0);
            rows.compact();
            rows.set(0, &all, LONGEST);
            rows.sort();
            assert_eq!(rows.order().len(), 3);
        }
    }

    #[test]
    #[should_panic(expected = "65,535 entries")]
    fn a_row_that_is_too_long_is_no_row() {
        Rows::new(1).set(0, &vec![0; LONGEST + 1], 0);
    }

    #[test]
    fn a_row_begins_where_u32_can_say() {
        assert_eq!(begin(u32::MAX as usize), u32::MAX);
        assert!(std::panic::catch_unwind(|| begin(u32::MAX as usize + 1)).is_err());
    }

    #[test]
    fn room_is_shared_and_ends() {
        let (room, mut rows, mut sizes) = (Room::new(100, 40), Rows::new(9), [0; 2]);
        for i in 0..3 {
            // Room for 3 + 0 + 2 each, which two tiles take.
            rows.set(i, &[1, 2, 3], 0);
            let over = sizes.each_mut().map(|size| room.is_over_after(&rows, size));
            assert_eq!(over, [false; 2]);
        }
        for i in 3..6 {
            rows.set(i, &[1, 2, 3], 0);
            let over = sizes.each_mut().map(|size| room.is_over_after(&rows, size));
            assert_eq!(over, [false; 2]);
        }
        rows.push(6, 1);
        assert!(room.is_over_after(&rows, &mut sizes[0]) && room.is_over());
        assert!(!Room::new(usize::MAX, 0).is_over_after(&rows, &mut 0));
        assert!(Room::new(3, 7).is_over_after(&rows, &mut 0));
    }
}
