//! The text form: header line, then hex wrapped at 80 columns around `hex(salt) \n hex(hmac) \n hex(ciphertext)`.

use super::VaultError;

const MAGIC: &str = "$ANSIBLE_VAULT";
const CIPHER: &str = "AES256";
const COLUMNS: usize = 80;

/// The three parts of the text, decoded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    /// Of any length: Ansible lets users set it.
    pub salt: Vec<u8>,
    /// HMAC-SHA256 over the ciphertext.
    pub mac: Vec<u8>,
    /// A whole number of AES blocks.
    pub ciphertext: Vec<u8>,
}

/// Whether the text claims to be vault text. Leading white space is allowed, as in the value of an inline block.
pub fn is_vault(text: &str) -> bool {
    text.trim_start().strip_prefix(MAGIC).is_some_and(|rest| rest.starts_with(';'))
}

/// The vault id in the header of a version 1.2 text.
pub fn label(text: &str) -> Option<&str> {
    if !is_vault(text) {
        return None;
    }
    text.trim_start().lines().next()?.split(';').nth(3).map(str::trim).filter(|label| !label.is_empty())
}

/// The text as an inline YAML value, to stand behind `key: `: `!vault |` and the lines indented by `indent` columns.
pub fn to_yaml_block(text: &str, indent: usize) -> String {
    let mut out = String::from("!vault |\n");
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        out.extend(std::iter::repeat_n(' ', indent));
        out.push_str(line);
        out.push('\n');
    }
    out
}

pub(super) fn write(body: &Body, label: Option<&str>) -> Result<String, VaultError> {
    let header = match label {
        None | Some("default") => format!("{MAGIC};1.1;{CIPHER}\n"),
        Some(label) => {
            let breaks = |c: char| c == ';' || c.is_whitespace() || c.is_control();
            if label.is_empty() || label.contains(breaks) {
                return Err(VaultError::BadLabel(label.to_string()));
            }
            format!("{MAGIC};1.2;{CIPHER};{label}\n")
        }
    };
    let inner = [to_hex(&body.salt), to_hex(&body.mac), to_hex(&body.ciphertext)].join("\n");
    let outer = to_hex(inner.as_bytes());
    let mut text = String::with_capacity(header.len() + outer.len() + outer.len() / COLUMNS + 2);
    text.push_str(&header);
    for (i, digit) in outer.chars().enumerate() {
        if i > 0 && i % COLUMNS == 0 {
            text.push('\n');
        }
        text.push(digit);
    }
    text.push('\n');
    Ok(text)
}

pub(super) fn read(text: &str) -> Result<Body, VaultError> {
    if !is_vault(text) {
        return Err(VaultError::NotAVault);
    }
    let mut lines =
        text.lines().enumerate().map(|(i, line)| (i + 1, line.trim())).filter(|(_, l)| !l.is_empty());
    let (mut last, header) = lines.next().ok_or(VaultError::NotAVault)?;
    read_header(header, last)?;

    let mut outer = Vec::with_capacity(text.len() / 2);
    let mut high = None;
    for (number, line) in lines {
        last = number;
        for c in line.chars() {
            let digit = c.to_digit(16).ok_or_else(|| VaultError::Damaged {
                line: number,
                why: format!("`{}` is not a hexadecimal digit", c.escape_default()),
            })? as u8;
            match high.take() {
                None => high = Some(digit << 4),
                Some(high) => outer.push(high | digit),
            }
        }
    }
    let damaged = |why: &str| VaultError::Damaged { line: last, why: why.to_string() };
    if high.is_some() {
        return Err(damaged("an odd number of hexadecimal digits"));
    }

    let cut = || damaged("the text ends before its content is complete");
    let mut parts = outer.splitn(3, |byte| *byte == b'\n');
    // How many digits a part must be a multiple of: a cut text is told from a wrong password that way.
    let mut part = |unit: usize| {
        let digits =
            parts.next().filter(|d| !d.is_empty() && d.len().is_multiple_of(unit)).ok_or_else(cut)?;
        from_hex(digits).ok_or_else(|| damaged("the content inside is not hexadecimal"))
    };
    Ok(Body { salt: part(2)?, mac: part(64)?, ciphertext: part(32)? })
}

fn read_header(header: &str, line: usize) -> Result<(), VaultError> {
    let mut fields = header.split(';').map(str::trim).skip(1);
    let version = fields.next().unwrap_or_default();
    if version != "1.1" && version != "1.2" {
        return Err(VaultError::UnsupportedVersion(version.to_string()));
    }
    match fields.next() {
        Some(CIPHER) => Ok(()),
        Some(other) if !other.is_empty() => Err(VaultError::UnsupportedCipher(other.to_string())),
        _ => Err(VaultError::Damaged { line, why: "the header names no cipher".to_string() }),
    }
}

fn to_hex(bytes: &[u8]) -> String {
    let digit = |value: u8| char::from(if value < 10 { b'0' + value } else { b'a' + value - 10 });
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

fn from_hex(digits: &[u8]) -> Option<Vec<u8>> {
    let value = |digit: u8| char::from(digit).to_digit(16).map(|v| v as u8);
    digits.chunks_exact(2).map(|pair| Some(value(pair[0])? << 4 | value(pair[1])?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_header_makes_a_vault() {
        for text in ["$ANSIBLE_VAULT;1.1;AES256\n00", "  \n  $ANSIBLE_VAULT;9;X"] {
            assert!(is_vault(text), "{text}");
        }
        for text in ["", "x$ANSIBLE_VAULT;1.1", "$ANSIBLE_VAULT", "$ANSIBLE_VAULTED;"] {
            assert!(!is_vault(text), "{text}");
        }
    }

    #[test]
    fn a_block_is_indented_and_read_back() {
        let body = Body { salt: vec![1; 32], mac: vec![2; 32], ciphertext: vec![3; 16] };
        let text = write(&body, Some("dev")).unwrap();
        let block = to_yaml_block(&text, 10);
        let inside = block.strip_prefix("!vault |\n").unwrap();
        assert!(
            inside.lines().all(|line| line.starts_with("          ") && !line.starts_with("           "))
        );
        assert_eq!(read(inside).unwrap(), body);
        assert_eq!(label(inside), Some("dev"));
    }
}
