//! Numbers without a pattern that are the same in each run.

/// The number at `index` of a fixed sequence (splitmix64).
pub(crate) fn scrambled(index: u64) -> u64 {
    let mut bits = index.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    bits ^ (bits >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_numbers_of_the_sequence() {
        assert_eq!(scrambled(0), 0xe220_a839_7b1d_cdaf);
        assert_eq!(scrambled(1), 0x6e78_9e6a_a1b9_65f4);
    }
}
