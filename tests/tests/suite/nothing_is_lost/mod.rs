//! Nothing is lost, end to end: built programs are killed and frozen, Postgres goes away and comes back older, and pods
//! change all the while. The judge is what kubectl shows and what AWS has and was called for.

mod crashes;
mod outages;
