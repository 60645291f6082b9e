//! One attempt to get in: what is said, and which refusal it must meet.

use std::sync::Arc;

use weft_protocol::{AuthFrame, AuthRefusal, DualSignature, Hello, KeyPair, Signer, TokenError};

/// One attempt.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) way: Way,
    pub(super) expected: Answer,
}

/// What whoever tries is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    /// The word is none; nothing is dialled.
    NoToken(TokenError),
    /// The token is one, and of no use any more; nothing is dialled.
    Command(&'static str),
    /// The other side refuses.
    Refused(AuthRefusal),
    /// It is let in.
    Accepted,
}

impl Answer {
    pub(super) fn code(&self) -> String {
        match self {
            Self::NoToken(error) => format!("{error:?}").split([' ', '{']).next().unwrap_or_default().to_lowercase(),
            Self::Command(code) => (*code).to_owned(),
            Self::Refused(refusal) => match refusal {
                AuthRefusal::BadRotation { fault } => format!("bad-rotation: {fault:?}"),
                other => other.code().to_owned(),
            },
            Self::Accepted => "accepted".to_owned(),
        }
    }
}

/// How it is tried.
pub(super) enum Way {
    /// As the word after `weft join`.
    Word(String),
    /// As bytes on the first substream of an encrypted connection.
    Raw(Vec<u8>),
    /// As a dialler.
    Call(Box<Call>),
    /// As what answers at the address of a token, while somebody joins.
    Inviter(Box<Lie>),
    /// As what answers at the address of a member that the node dials.
    Member(Box<Lie>),
}

/// Changes the right proof; the other side's own proof beside it.
pub(super) type Alter = Box<dyn Fn(DualSignature, &DualSignature) -> DualSignature + Send>;

/// What a dialler says.
pub(super) struct Call {
    /// Whose the connection is.
    pub(super) keys: Arc<KeyPair>,
    pub(super) hello: Hello,
    /// Who signs the proof.
    pub(super) signer: Arc<dyn Signer>,
    pub(super) alter: Alter,
    /// What follows the other side's proof; the own proof stands where there is none.
    pub(super) then: Vec<Option<AuthFrame>>,
}

impl Call {
    /// A dialler with the keys that it shows, and an honest proof.
    pub(super) fn new(keys: &Arc<KeyPair>, hello: Hello) -> Self {
        let signer = Arc::clone(keys) as Arc<dyn Signer>;
        Self { keys: Arc::clone(keys), hello, signer, alter: Box::new(|proof, _| proof), then: vec![None] }
    }
}

/// What a listener says.
pub(super) struct Lie {
    /// Whose the connection is.
    pub(super) keys: Arc<KeyPair>,
    pub(super) hello: Hello,
    /// Who signs the proof.
    pub(super) signer: Arc<dyn Signer>,
    pub(super) alter: Alter,
    /// The verdict after the other side's proof.
    pub(super) verdict: Option<AuthFrame>,
    /// The secret is known to whoever was told: never, unless the verdict is the lie.
    pub(super) may_hear_the_secret: bool,
}

impl Lie {
    pub(super) fn new(keys: &Arc<KeyPair>, hello: Hello) -> Self {
        let signer = Arc::clone(keys) as Arc<dyn Signer>;
        let alter: Alter = Box::new(|proof, _| proof);
        Self { keys: Arc::clone(keys), hello, signer, alter, verdict: None, may_hear_the_secret: false }
    }
}
