//! Lists of the pairs that need a visit, by feature, by group of features and by block of examples.

pub(crate) mod block_tile;
pub(crate) mod budgets;
pub(crate) mod by_feature;
mod clusters;
pub(crate) mod group_references;
mod group_sums;
pub(crate) mod group_tile;
pub(crate) mod listed;
pub(crate) mod pace;
mod pairs;
pub(crate) mod plan;
pub(crate) mod references;
pub(crate) mod rows;
mod skin;
pub(crate) mod sorted;
mod sorted_tile;
pub(crate) mod tile;
pub(crate) mod work;
