//! The parser of label selectors: what Kubernetes' own takes, and where the first fault is.

use std::str::FromStr;

use super::{Condition, LabelSelector, NotASelector, Requirement, is_key, is_value};

impl FromStr for LabelSelector {
    type Err = NotASelector;

    fn from_str(text: &str) -> Result<Self, NotASelector> {
        let mut parser = Parser { text, at: 0 };
        let mut requirements = Vec::new();
        loop {
            requirements.push(parser.requirement()?);
            match parser.next() {
                (_, Token::End) => break,
                (_, Token::Symbol(",")) => {}
                (at, _) => return Err(parser.wrong(at, "neither a comma nor the end follows")),
            }
        }
        Ok(Self {
            text: text.into(),
            requirements: requirements.into(),
        })
    }
}

/// What Kubernetes takes for white space.
pub const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What stands for itself; of two that fit, the longer one.
const SYMBOLS: [&str; 9] = ["==", "!=", "=", "!", "(", ")", ",", ">", "<"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token<'a> {
    Text(&'a str),
    Symbol(&'static str),
    End,
}

/// Reads a selector as Kubernetes' own parser does: the API server reads the same text.
struct Parser<'a> {
    text: &'a str,
    /// Where the next token begins, or the space before it.
    at: usize,
}

impl<'a> Parser<'a> {
    /// The next token and where it begins.
    fn next(&mut self) -> (usize, Token<'a>) {
        let rest = self.text[self.at..].trim_start_matches(SPACE);
        let at = self.text.len() - rest.len();
        let token = if rest.is_empty() {
            Token::End
        } else if let Some(symbol) = SYMBOLS.into_iter().find(|s| rest.starts_with(s)) {
            Token::Symbol(symbol)
        } else {
            let ends = |c| SPACE.contains(&c) || "=!(),><".contains(c);
            Token::Text(&rest[..rest.find(ends).unwrap_or(rest.len())])
        };
        let length = match token {
            Token::Text(text) | Token::Symbol(text) => text.len(),
            Token::End => 0,
        };
        self.at = at + length;
        (at, token)
    }

    fn peek(&self) -> Token<'a> {
        let Self { text, at } = *self;
        Parser { text, at }.next().1
    }

    fn wrong(&self, at: usize, why: &'static str) -> NotASelector {
        let at = self.text[..at].chars().count() + 1;
        NotASelector { at, why }
    }

    fn requirement(&mut self) -> Result<Requirement, NotASelector> {
        let absent = self.peek() == Token::Symbol("!");
        if absent {
            self.next();
        }
        let key = match self.next() {
            (_, Token::Text(key)) if is_key(key) => key.into(),
            (at, Token::Text(_)) => {
                return Err(self.wrong(
                    at,
                    "there is what Kubernetes doesn't take for a label's key",
                ));
            }
            (at, _) => return Err(self.wrong(at, "a label's key is missing")),
        };
        let alone = absent || matches!(self.peek(), Token::End | Token::Symbol(","));
        let condition = match alone {
            true if absent => Condition::Absent,
            true => Condition::Exists,
            false => self.condition()?,
        };
        Ok(Requirement { key, condition })
    }

    fn condition(&mut self) -> Result<Condition, NotASelector> {
        Ok(match self.next() {
            (_, Token::Symbol("=" | "==")) => Condition::In([self.value()?.1.into()].into()),
            (_, Token::Symbol("!=")) => Condition::NotIn([self.value()?.1.into()].into()),
            (_, Token::Symbol(">")) => Condition::GreaterThan(self.number()?),
            (_, Token::Symbol("<")) => Condition::LessThan(self.number()?),
            (_, Token::Text("in")) => Condition::In(self.values()?),
            (_, Token::Text("notin")) => Condition::NotIn(self.values()?),
            (at, _) => {
                return Err(self.wrong(
                    at,
                    "none of =, ==, !=, in, notin, >, < and a comma follows the key",
                ));
            }
        })
    }

    /// One value, which may be empty, and where it begins.
    fn value(&mut self) -> Result<(usize, &'a str), NotASelector> {
        if matches!(self.peek(), Token::End | Token::Symbol(",")) {
            return Ok((self.at, ""));
        }
        match self.next() {
            (at, Token::Text(value)) => self.valid(at, value),
            (at, _) => Err(self.wrong(at, "a label's value is missing")),
        }
    }

    fn valid(&self, at: usize, value: &'a str) -> Result<(usize, &'a str), NotASelector> {
        if is_value(value) {
            return Ok((at, value));
        }
        Err(self.wrong(
            at,
            "there is what Kubernetes doesn't take for a label's value",
        ))
    }

    /// A label's value as well, so that it has no sign.
    fn number(&mut self) -> Result<i64, NotASelector> {
        let (at, value) = self.value()?;
        let number = value.parse();
        number.map_err(|_| self.wrong(at, "a whole number is missing"))
    }

    /// Values in parentheses; where nothing stands between commas, there is an empty one.
    fn values(&mut self) -> Result<Box<[Box<str>]>, NotASelector> {
        match self.next() {
            (_, Token::Symbol("(")) => {}
            (at, _) => {
                return Err(self.wrong(
                    at,
                    "the values of in and notin don't begin with a parenthesis",
                ));
            }
        }
        let mut values = Vec::new();
        loop {
            let (at, value) = match self.peek() {
                Token::Text(_) => self.next(),
                _ => (self.at, Token::Text("")),
            };
            if let Token::Text(value) = value {
                values.push(self.valid(at, value)?.1.into());
            }
            match self.next() {
                (_, Token::Symbol(",")) => {}
                (_, Token::Symbol(")")) => return Ok(values.into()),
                (at, _) => {
                    return Err(self.wrong(at, "neither a comma nor a closing parenthesis follows"));
                }
            }
        }
    }
}
