//! Splitting the arguments of an instruction into words: quotes, backslashes and variables.

/// A word, with the place of its first `=` outside of quotes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) equals: Option<usize>,
}

/// Splits at blanks. `$NAME` and `${NAME}` stand for what `env` says, nothing when it says nothing.
pub(super) fn split(text: &str, env: &[String]) -> Result<Vec<Word>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<Word> = None;
    let mut quote: Option<char> = None;
    let mut rest = text.chars();
    while let Some(char) = rest.next() {
        if quote.is_none() && char.is_whitespace() {
            words.extend(word.take());
            continue;
        }
        let word = word.get_or_insert_with(|| Word {
            text: String::new(),
            equals: None,
        });
        match (char, quote) {
            (quoting, Some(open)) if quoting == open => quote = None,
            ('"' | '\'', None) => quote = Some(char),
            ('\\', Some('"')) => match rest.next() {
                Some(next @ ('"' | '$' | '\\')) => word.text.push(next),
                Some(next) => word.text.extend(['\\', next]),
                None => return Err("a backslash at the end"),
            },
            ('\\', None) => word.text.push(rest.next().ok_or("a backslash at the end")?),
            ('$', None | Some('"')) => word.text.push_str(&variable(&mut rest, env)?),
            ('=', None) if word.equals.is_none() => {
                word.equals = Some(word.text.len());
                word.text.push('=');
            }
            (char, _) => word.text.push(char),
        }
    }
    if quote.is_some() {
        return Err("a quote that does not end");
    }
    words.extend(word);
    Ok(words)
}

/// The value of the variable whose name comes next.
fn variable(rest: &mut std::str::Chars<'_>, env: &[String]) -> Result<String, &'static str> {
    let text = rest.as_str();
    let is_part = |char: char| char.is_ascii_alphanumeric() || char == '_';
    let (name, taken) = match text.strip_prefix('{') {
        Some(inner) => {
            let end = inner.find('}').ok_or("a brace that does not end")?;
            (&inner[..end], end + 2)
        }
        None => {
            let end = text.find(|char| !is_part(char)).unwrap_or(text.len());
            (&text[..end], end)
        }
    };
    if text.starts_with('{') && (name.is_empty() || !name.chars().all(is_part)) {
        return Err("only ${NAME} is supported in braces");
    }
    *rest = text[taken..].chars();
    if name.is_empty() {
        return Ok("$".to_owned());
    }
    let value = env
        .iter()
        .find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='));
    Ok(value.unwrap_or_default().to_owned())
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn words_are_split_as_a_shell_would() {
        let env = ["HOME=/root".to_owned(), "EMPTY=".to_owned()];
        let table: [(&str, &[&str]); 9] = [
            ("a  b", &["a", "b"]),
            ("a='b c' \"d e\"", &["a=b c", "d e"]),
            (r"a\ b \$HOME", &["a b", "$HOME"]),
            ("$HOME/x ${HOME}y $NONE", &["/root/x", "/rooty", ""]),
            (r#"'$HOME' "$HOME" "\$HOME""#, &["$HOME", "/root", "$HOME"]),
            (r#""a\b" "a\"b""#, &[r"a\b", "a\"b"]),
            ("$ x$", &["$", "x$"]),
            ("", &[]),
            ("''", &[""]),
        ];
        for (text, expected) in table {
            let words = split(text, &env).unwrap();
            let texts: Vec<_> = words.iter().map(|word| word.text.as_str()).collect();
            assert_eq!(texts, expected, "{text}");
        }
        for text in ["'a", "\"a", "a\\", "${a", "${a:-b}", "${}"] {
            split(text, &env).unwrap_err();
        }
    }
}
