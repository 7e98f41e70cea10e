//! Lists of the pairs that need a visit, by feature and by group of features.

pub(crate) mod budgets;
pub(crate) mod by_feature;
pub(crate) mod by_group;
pub(crate) mod pairs;
pub(crate) mod rows;
pub(crate) mod tile;
