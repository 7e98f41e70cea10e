//! Rows of entries in one pool, each with some room to grow.

/// Entries that may be read behind any row.
pub const SLACK: usize = 16;

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
}

/// A number of rows of at most 65,535 entries.
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
            rows: vec![Row::default(); count],
            pool: vec![0; SLACK],
            live: 0,
            order: Vec::new(),
            ordered: vec![false; count],
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

    /// Row i becomes `entries`; `bare` of them would be there without any skin.
    #[inline(always)]
    pub fn set(&mut self, i: usize, entries: &[u16], bare: usize) {
        let row = &mut self.rows[i];
        let len = entries.len();
        self.live = self.live + len - usize::from(row.len);
        if len > usize::from(row.room) {
            let end = self.pool.len();
            row.start = (end - SLACK) as u32;
            row.room = room(len);
            self.pool.resize(end + usize::from(row.room), 0);
        }
        row.len = len as u16;
        row.bare = bare.min(usize::from(u16::MAX)) as u16;
        self.pool[row.start as usize..][..len].copy_from_slice(entries);
        self.enlist(i);
    }

    /// Add an entry to row i if it is not there.
    #[inline(always)]
    pub fn add(&mut self, i: usize, entry: u16) {
        if !contains(self.row(i), entry) {
            self.push(i, entry);
        }
    }

    /// Add an entry that is not there yet to row i.
    #[inline(always)]
    pub fn push(&mut self, i: usize, entry: u16) {
        let row = self.rows[i];
        let (start, len) = (row.start as usize, usize::from(row.len));
        if row.len == row.room {
            let end = self.pool.len();
            let room = room(len + 1);
            self.pool.resize(end + usize::from(room), 0);
            self.pool.copy_within(start..start + len, end - SLACK);
            self.rows[i].start = (end - SLACK) as u32;
            self.rows[i].room = room;
        }
        let row = &mut self.rows[i];
        self.pool[row.start as usize + len] = entry;
        row.len += 1;
        self.live += 1;
        self.enlist(i);
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
        if self.pool.len() <= 2 * self.live + 8 * self.rows.len() {
            return;
        }
        let mut pool = Vec::with_capacity(2 * self.live + 2 * self.rows.len());
        for row in &mut self.rows {
            let len = usize::from(row.len);
            let old = row.start as usize..row.start as usize + len;
            row.start = pool.len() as u32;
            row.room = if len == 0 { 0 } else { room(len) };
            pool.extend_from_slice(&self.pool[old]);
            pool.resize(row.start as usize + usize::from(row.room), 0);
        }
        pool.resize(pool.len() + SLACK, 0);
        self.pool = pool;
    }
}

/// Room for a row of `len` entries.
fn room(len: usize) -> u16 {
    (len + len / 4 + 2).min(usize::from(u16::MAX)) as u16
}

/// Whether `entry` is among `entries`, without a branch for each.
#[inline(always)]
fn contains(entries: &[u16], entry: u16) -> bool {
    let mut chunks = entries.chunks_exact(32);
    for chunk in &mut chunks {
        let mut found = false;
        for &e in chunk {
            found |= e == entry;
        }
        if found {
            return true;
        }
    }
    let mut found = false;
    for &e in chunks.remainder() {
        found |= e == entry;
    }
    found
}
