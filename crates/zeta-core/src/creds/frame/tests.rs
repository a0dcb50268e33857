//! Frames of both formats: what is accepted is written the same, everything else has a reason.

use super::v2::{self, Header};
use super::{BLOB_MAX, BadFrame, Format, Frame, PAYLOAD_MAX, v1};

fn one() -> Vec<u8> {
    let salt = [1; 32];
    let frame = v1::Frame {
        reserved: [0; 4],
        salt: &salt,
        nonce: &[2; 12],
        tag: &[3; 16],
        payload: b"payload",
    };
    frame.render()
}

fn header() -> Header {
    Header { log2_n: 15, salt: [1; 32], generation: 7, nonce: [2; 12], payload_len: 1024 }
}

fn two() -> Vec<u8> {
    let (mac, payload, tag) = ([3; 32], [4; 1024], [5; 16]);
    v2::Frame { header: header(), mac: &mac, payload: &payload, tag: &tag }.render()
}

#[test]
fn places_are_where_the_document_says() {
    let one = one();
    assert_eq!(one.len(), 78 + 7);
    assert_eq!(&one[..12], b"ZCV1\0\0\0\0\x20\0\x01\x01");
    assert_eq!(&one[42..46], [12, 0, 2, 2]);
    assert_eq!(&one[56..60], [16, 0, 3, 3]);
    assert_eq!(&one[74..80], [7, 0, 0, 0, b'p', b'a']);
    let two = two();
    assert_eq!(two.len(), 98 + 1024 + 16);
    assert_eq!(&two[..11], b"ZCV2\x01\x01\x01\x0f\x08\x01\x01");
    assert_eq!(&two[41..44], [1, 7, 0]);
    assert_eq!(&two[49..51], [0, 2]);
    assert_eq!(&two[61..68], [2, 0, 4, 0, 0, 3, 3]);
    assert_eq!(&two[97..99], [3, 4]);
    assert_eq!(two[98 + 1024], 5);
}

#[test]
fn what_is_accepted_is_written_the_same() {
    for blob in [one(), two()] {
        assert_eq!(Frame::parse(&blob).unwrap().render(), blob);
        for at in 0..blob.len() {
            for byte in 0..=255 {
                let mut other = blob.clone();
                other[at] = byte;
                if let Ok(frame) = Frame::parse(&other) {
                    assert_eq!(frame.render(), other, "byte {at} is {byte}");
                }
            }
        }
    }
}

#[test]
fn what_begins_otherwise_is_no_blob_and_what_is_too_short_says_how_long_it_must_be() {
    let short = |len, least| Err(BadFrame::TooShort { len, least });
    assert_eq!(Frame::parse(b"JUNK"), Err(BadFrame::Magic));
    assert_eq!(Frame::parse(b"ZCV"), short(3, v1::FIXED_LEN));
    assert_eq!(Frame::parse(b"ZCV1"), short(4, v1::FIXED_LEN));
    let empty = v1::Frame {
        reserved: [0; 4],
        salt: &[1; 32],
        nonce: &[2; 12],
        tag: &[3; 16],
        payload: b"",
    };
    let empty = empty.render();
    assert_eq!(Frame::parse(&empty).unwrap().render(), empty);
    let cut = &empty[..empty.len() - 1];
    assert_eq!(Frame::parse(cut), short(cut.len(), empty.len()));
    assert_eq!((Format::Zcv1.word(), Format::Zcv2.word()), ("zcv1", "zcv2"));
}

#[test]
fn every_shorter_and_every_longer_blob_is_refused() {
    for mut blob in [one(), two()] {
        for len in 0..blob.len() {
            assert!(Frame::parse(&blob[..len]).is_err(), "cut to {len}");
        }
        blob.push(0);
        assert!(Frame::parse(&blob).is_err());
        blob.extend([0; 1023]);
        assert!(Frame::parse(&blob).is_err());
    }
}

#[test]
fn what_is_unknown_or_out_of_bounds_is_named() {
    let unknown = |what, found| BadFrame::Unknown { what, found };
    let bounds = |what, found| BadFrame::Bounds { what, found };
    let cases = [
        (4, 0, unknown("version", 0)),
        (4, 2, unknown("version", 2)),
        (5, 2, unknown("suite", 2)),
        (6, 0, unknown("kdf", 0)),
        (7, 14, bounds("log2 of N", 14)),
        (7, 21, bounds("log2 of N", 21)),
        (7, 255, bounds("log2 of N", 255)),
        (8, 9, bounds("r", 9)),
        (9, 0, bounds("p", 0)),
        (62, 1, bounds("payload length", 1025)),
        (63, 0, bounds("payload length", 0)),
        (64, 0x10, bounds("payload length", PAYLOAD_MAX as u64 + 1024)),
        (3, b'3', BadFrame::Magic),
    ];
    for (at, byte, why) in cases {
        let mut blob = two();
        blob[at] = byte;
        assert_eq!(Frame::parse(&blob), Err(why), "byte {at} is {byte}");
    }
    for log2_n in 15..=20 {
        let mut blob = two();
        blob[7] = log2_n;
        assert!(Frame::parse(&blob).is_ok());
    }
}

#[test]
fn the_largest_blob_of_each_format_is_accepted_and_a_larger_one_is_not() {
    let payload = vec![0; PAYLOAD_MAX + v2::BLOCK];
    let most = &payload[..PAYLOAD_MAX];
    let of_two = |payload: &[u8]| {
        let header = Header { payload_len: payload.len() as u32, ..header() };
        v2::Frame { header, mac: &[0; 32], payload, tag: &[0; 16] }.render()
    };
    let of_one = |payload: &[u8]| {
        let (salt, nonce, tag) = (&[0; 32][..], &[0; 12][..], &[0; 16][..]);
        v1::Frame { reserved: [0; 4], salt, nonce, tag, payload }.render()
    };
    assert!(Frame::parse(&of_one(most)).is_ok());
    let largest = of_two(most);
    assert_eq!(largest.len(), BLOB_MAX);
    assert_eq!(PAYLOAD_MAX, 1_048_576);
    assert!(Frame::parse(&largest).is_ok());
    for larger in [of_one(&payload), of_two(&payload)] {
        let why = Frame::parse(&larger);
        assert!(matches!(why, Err(BadFrame::Bounds { what: "payload length", .. })), "{why:?}");
    }
}

#[test]
fn padding_is_exact_and_its_length_tells_little() {
    for len in [0, 1, 1019, 1020, 1021, 2044, 2045, v2::CONTENT_MAX] {
        let content = vec![b'x'; len];
        let padded = v2::pad(&content).unwrap();
        assert!(padded.len().is_multiple_of(v2::BLOCK) && padded.len() <= PAYLOAD_MAX);
        assert!(padded.len() - len < v2::BLOCK + 4);
        assert_eq!(v2::unpad(&padded), Some(&content[..]));
    }
    assert_eq!(v2::pad(&vec![0; v2::CONTENT_MAX + 1]), None);
    let good = v2::pad(b"content").unwrap();
    let mut longer = good.to_vec();
    longer.extend([0; v2::BLOCK]);
    assert_eq!(v2::unpad(&longer), None, "a block too many");
    let mut dirty = good.to_vec();
    dirty[1023] = 1;
    assert_eq!(v2::unpad(&dirty), None, "something in the padding");
    for len in [1021, 1024, u32::MAX] {
        let mut lies = good.to_vec();
        lies[..4].copy_from_slice(&len.to_le_bytes());
        assert_eq!(v2::unpad(&lies), None, "a length of {len}");
    }
    assert_eq!(v2::unpad(&[]), None);
    assert_eq!(v2::unpad(&[0, 0, 0]), None);
}
