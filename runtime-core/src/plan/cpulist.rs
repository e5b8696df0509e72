//! Lists of numbers as the kernel writes them: "0-3,7" (cpuset(7), "List format").

/// The highest number that is believed; kernels are built for at most 8192 CPUs and 1024 nodes.
const HIGHEST: u32 = 8191;

/// As words of 64 bits, number N at bit N % 64 of word N / 64.
///
/// `Err` says what is wrong with it. The empty list is empty.
pub(crate) fn parse(text: &str) -> Result<Vec<u64>, String> {
    let mut words: Vec<u64> = Vec::new();
    if text.is_empty() {
        return Ok(words);
    }
    for range in text.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (first, last) = (number(first, range)?, number(last, range)?);
        if first > last {
            return Err(format!("the range {range:?} runs backwards"));
        }
        if last > HIGHEST {
            return Err(format!("{last} is above {HIGHEST}"));
        }
        for at in first..=last {
            let word = (at / 64) as usize;
            if words.len() <= word {
                words.resize(word + 1, 0);
            }
            words[word] |= 1 << (at % 64);
        }
    }
    Ok(words)
}

fn number(text: &str, range: &str) -> Result<u32, String> {
    // Digits only: `parse` would take a sign.
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = digits.then(|| text.parse().ok()).flatten();
    parsed.ok_or_else(|| format!("{range:?} is neither a number nor a range; wanted is a list like \"0-3,7\""))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn lists() {
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse("0"), Ok(vec![1]));
        assert_eq!(parse("0-3,7"), Ok(vec![0b1000_1111]));
        assert_eq!(parse("7,0-3,2"), Ok(vec![0b1000_1111]));
        assert_eq!(parse("63-64"), Ok(vec![1 << 63, 1]));
    }

    #[test]
    fn what_is_no_list() {
        for text in ["a", "-", "1-", "-1", "1,", ",1", "3-1", "1 ", " 1", "+1", "0x1", "8192", "0-99999999999", "1-2-3"]
        {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
