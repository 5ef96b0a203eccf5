//! Whose write managed fields show: the names that our writes have there, and what these say.

/// The longest name of a field manager, in bytes (ManagedFields, apimachinery's FieldManagerMaxLength).
const LONGEST_MANAGER: usize = 128;
/// What stands before the principal in the names of our own field managers.
const MANAGER: &str = "headcount";

/// The field manager of a principal's writes, so that managed fields tell who made them; an empty principal is left out.
pub fn field_manager(principal: &str) -> String {
    let mut manager = MANAGER.to_owned();
    if !principal.is_empty() {
        manager.push(':');
    }
    for c in principal.chars() {
        // Kubernetes takes printable ones only.
        let printable = c.is_ascii_graphic() || c == ' ' || c.is_alphanumeric();
        let c = if printable { c } else { '?' };
        if manager.len() + c.len_utf8() > LONGEST_MANAGER {
            break;
        }
        manager.push(c);
    }
    manager
}

/// The field manager of one write among others of its author, told from them by `mark`: 16 hexadecimal digits.
pub fn marked(manager: &str, mark: &str) -> String {
    let mut end = manager.len().min(LONGEST_MANAGER - MARK.len() - mark.len());
    while !manager.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{MARK}{mark}", &manager[..end])
}

/// What stands before a mark.
const MARK: &str = "#";
/// How long a mark is.
const MARK_LENGTH: usize = 16;

impl FieldOwner {
    /// Whose write it was, where headcount made it.
    pub fn principal(&self) -> Option<&str> {
        let principal = self.manager.strip_prefix(MANAGER)?.strip_prefix(':')?;
        let principal = match principal.rsplit_once(MARK) {
            Some((before, mark)) if is_mark(mark) => before,
            _ => principal,
        };
        (!principal.is_empty()).then_some(principal)
    }
}

fn is_mark(text: &str) -> bool {
    text.len() == MARK_LENGTH && text.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Who owns a field (metadata.managedFields).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldOwner {
    /// The field manager, as it calls itself.
    pub manager: String,
    /// When it set one of its fields last (RFC 3339).
    pub time: Option<String>,
    /// The subresource through which it did; empty for the object itself.
    pub subresource: String,
}
