//! Lists of the pairs that need a visit, by feature and by group of features.

pub(crate) mod budgets;
pub(crate) mod by_feature;
pub(crate) mod by_group;
mod clusters;
pub(crate) mod group_references;
pub(crate) mod group_tile;
pub(crate) mod listed;
pub(crate) mod pace;
mod pairs;
pub(crate) mod plan;
pub(crate) mod references;
pub(crate) mod rows;
mod skin;
pub(crate) mod tile;
pub(crate) mod work;
