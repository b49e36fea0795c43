//! Bytes that are counted against the memory of all requests for as long as somebody holds them.

use bytes::Bytes;
use tfweb_limits::Share;

struct Counted {
    bytes: Vec<u8>,
    _share: Share,
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Gives bytes their share. It is given back with the last of their parts.
pub(super) fn counted(bytes: Vec<u8>, share: Share) -> Bytes {
    Bytes::from_owner(Counted { bytes, _share: share })
}

#[cfg(test)]
mod tests {
    use tfweb_limits::{Holding, Ledger};

    use super::*;

    #[test]
    fn the_last_part_holds_the_share() {
        let ledger = Ledger::new(100);
        let mut bytes = counted(vec![7; 50], ledger.take(Holding::Received, 60).unwrap());
        let part = bytes.split_to(1);
        drop(bytes);
        assert_eq!((ledger.bytes(Holding::Received), &part[..]), (60, &[7][..]));
        drop(part);
        assert_eq!(ledger.bytes(Holding::Received), 0);
    }
}
