//! Cards from strangers, and every card a creator could sign.

#![no_main]

use libfuzzer_sys::{
    arbitrary::{Result, Unstructured},
    fuzz_target,
};
use sluice_core::{
    ContentId, Digest,
    card::{Card, MAX_CARD_LEN, Text},
    creator::CreatorKey,
};
use sluice_fuzz::canonical_elsewhere;

fuzz_target!(|data: &[u8]| {
    let key = CreatorKey::from_seed(b"an example creator's seed, 32 by");
    // The golden vectors' work, so that the seeds get past the check of whose card it is.
    let work: ContentId = "bafyr4ihywuiwbh73usb3pi7fmv73rw2alt6je6ti47uhbcovzrd6hyu46a"
        .parse()
        .expect("a content id");
    if let Ok(card) = Card::decode(data, &work, &key.id()) {
        assert_eq!(card.bytes(), data);
    }
    let input = &mut Unstructured::new(data);
    if let Ok((seq, text)) = text(input)
        && let Ok(card) = Card::sign(work, seq, text, &key)
    {
        assert!(card.bytes().len() <= MAX_CARD_LEN);
        let read =
            Card::decode(card.bytes(), &work, &key.id()).expect("what was signed is read back");
        assert_eq!(read, card);
        canonical_elsewhere(card.bytes());
        let mut changed = card.bytes().to_vec();
        let at = data.len() % changed.len();
        changed[at] ^= 1;
        assert!(Card::decode(&changed, &work, &key.id()).is_err());
    }
});

fn text(input: &mut Unstructured<'_>) -> Result<(u64, Text)> {
    let seq = input.arbitrary()?;
    let text = Text {
        unlisted: input.arbitrary()?,
        poster: input.arbitrary::<Option<[u8; 32]>>()?.map(Digest::new),
        language: input.arbitrary()?,
        title: input.arbitrary()?,
        tags: input.arbitrary()?,
        licence: input.arbitrary()?,
        description: input.arbitrary()?,
    };
    Ok((seq, text))
}
