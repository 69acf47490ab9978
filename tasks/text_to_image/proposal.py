"""Which profile suits a data set, and what its subject is called: by its captions' words and the faces in its pictures.

`init` proposes it with its reason, and says so where it is in doubt. Never imports torch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from shared.data.pictures import open_picture
from shared.data.survey import Survey
from shared.errors import DataError, ModelError
from tasks.text_to_image.encoders.faces import SAME_PERSON, Face, load_face_encoder

MOST = 0.5
"""Share of captions, or of pictures, that speaks for a kind."""
MOST_LOOKED_AT = 24
"""Pictures in which faces are searched for, at most."""
VARIED = 3
"""So many different things in captions of one manner are a style and not one subject."""

WORDS = {
    "garment": (
        "apron blazer blouse boots cape cardigan clothes coat dress fabric garment gown hoodie jacket jeans jumpsuit "
        "kimono leggings pants poncho robe scarf shirt shorts skirt suit sweater sweatshirt top trousers tunic vest "
        "t-shirt tshirt"
    ),
    "person": (
        "actor actress baby bearded boy bride child face father female girl grandfather grandmother groom guy kid lady "
        "male man model mother person portrait selfie singer smiling teenager woman"
    ),
    "character": (
        "alien angel anime bear bird cartoon cat character chibi creature demon dinosaur dog dragon elf fairy fox "
        "furry goblin hero horse kitten knight manga mascot monster orc pony princess puppy rabbit robot superhero "
        "vampire warrior witch wizard wolf"
    ),
    "style": (
        "art artwork charcoal comic drawing engraving etching gouache illustration ink lineart linocut lithograph oil "
        "painting painted pastel pencil pixel poster print render sketch style watercolor watercolour woodcut"
    ),
    "object": (
        "backpack bag bicycle bike boat book bottle bowl box bracelet bridge building bus camera can car castle chair "
        "church clock cup earrings figurine guitar handbag house jar jewelry lamp logo motorcycle mug necklace package "
        "packaging perfume phone plush plushie product ring shoe shoes sneaker sneakers sofa statue table teapot toy "
        "train truck vase vehicle watch"
    ),
}
"""Profile → words of captions that speak for it, in the singular."""
ALSO_CALLED = {"character": ("person", "object"), "object": ("garment",)}
"""Profile → others whose words name its subject, where none of its own does: an anime girl is a character."""
EXAMPLES = {"garment": "dress", "person": "woman", "character": "robot", "style": "watercolour", "object": "mug"}
"""Profile → a class word."""
DOUBT = "captions and pictures do not say what is learnt: change it if it is no garment"


@dataclass(frozen=True)
class Proposal:
    """What `init` writes about the subject."""

    profile: str
    reason: str
    class_word: str = ""
    """What kind of thing it is; empty: not known."""
    has_face_encoder: bool = False

    def of_class(self) -> str:
        """What is said of the class word."""
        if self.class_word:
            return f"class word: {self.class_word} (--class-word says another)"
        return (
            "class word: not known, most captions have none in common, so probe prompts name nothing of its kind; give "
            f"--class-word, such as {EXAMPLES[self.profile]}"
        )


def propose(survey: Survey, profile: str = "", class_word: str = "") -> Proposal:
    """Look at captions and pictures. profile, class_word: what the user has said of them."""
    found = _in_captions(survey)
    faces = _Faces.of(survey.pictures)
    chosen, reason = (profile, "as you said") if profile else _choose(survey, found, faces)
    words = (_class_word(survey, found[kind]) for kind in (chosen, *ALSO_CALLED.get(chosen, ())))
    return Proposal(chosen, reason, class_word or next(filter(None, words), ""), faces.can_be_seen)


def _choose(survey: Survey, found: dict[str, Counter[str]], faces: _Faces) -> tuple[str, str]:
    """(profile, why)."""
    garments, style = found["garment"], found["style"]
    if faces.is_one_person and not _speaks(garments, survey):
        return "person", f"{faces.num_alike} of {faces.num_pictures} pictures show the face of one person"
    things = {word for kind in ("garment", "person", "character", "object") for word in found[kind]}
    if _speaks(style, survey) and len(things) >= VARIED:
        return "style", f"{_counted(style, survey)} captions say {_quoted(style)}, of {len(things)} different things"
    kinds = [kind for kind in ("garment", "person", "character", "object") if found[kind]]
    able = [kind for kind in kinds if _speaks(found[kind], survey)] or (kinds if len(kinds) == 1 else [])
    if not able:
        return "garment", DOUBT
    said = " and ".join(f"{_counted(found[kind], survey)} captions say {_quoted(found[kind])}" for kind in able)
    if len(able) > 1 or not _speaks(found[able[0]], survey):
        return able[0], f"in doubt: {said}; choose another profile if {able[0]} is wrong"
    reason = said
    if able[0] == "person" and not faces.can_be_seen:
        reason += "; faces were not looked at"
    return able[0], reason


def _in_captions(survey: Survey) -> dict[str, Counter[str]]:
    """Kind → word → captions that have it. The trigger word counts for nothing."""
    found: dict[str, Counter[str]] = {}
    for kind, words in WORDS.items():
        known = set(words.split())
        found[kind] = Counter(word for caption in survey.captions for word in sorted(_words(caption, survey) & known))
    return found


def _words(caption: str, survey: Survey) -> set[str]:
    text = (
        caption.casefold().replace(survey.trigger_word.casefold(), " ") if survey.trigger_word else caption.casefold()
    )
    words = set(re.findall(r"[\w-]+", text))
    return words | {word.removesuffix("s") for word in words}


def _speaks(words: Counter[str], survey: Survey) -> bool:
    """Whether most captions have one of the commonest two words."""
    return bool(survey.captions) and _num_saying(words, survey) >= MOST * len(survey.captions)


def _num_saying(words: Counter[str], survey: Survey) -> int:
    """Captions that have one of the commonest two words, or both."""
    named = {word for word, _ in words.most_common(2)}
    return sum(not named.isdisjoint(_words(caption, survey)) for caption in survey.captions)


def _counted(words: Counter[str], survey: Survey) -> str:
    return f"{_num_saying(words, survey)} of {len(survey.captions)}"


def _quoted(words: Counter[str]) -> str:
    return " or ".join(f"'{word}'" for word, _ in words.most_common(2))


def _class_word(survey: Survey, words: Counter[str]) -> str:
    """The word that most captions have for the subject; empty where there is none."""
    common = words.most_common(1)
    return common[0][0] if common and common[0][1] >= MOST * len(survey.captions) else ""


@dataclass(frozen=True)
class _Faces:
    """The faces in some of the pictures."""

    num_pictures: int
    found: tuple[Face, ...] = ()
    can_be_seen: bool = False
    """There is a face encoder."""

    @classmethod
    def of(cls, pictures: Sequence[Path]) -> _Faces:
        """Search evenly spread pictures; nothing is found without an encoder."""
        chosen = pictures[:: -(-len(pictures) // MOST_LOOKED_AT)] if pictures else ()
        try:
            encoder = load_face_encoder()
        except ModelError:
            return cls(len(chosen))
        found: list[Face] = []
        for path in chosen:
            try:
                face = encoder.face(open_picture(path))
            except DataError:
                continue
            found += [face] if face is not None else []
        return cls(len(chosen), tuple(found), can_be_seen=True)

    @property
    def num_alike(self) -> int:
        """Faces of the person whom most pictures show."""
        if not self.found:
            return 0
        faces = np.stack(self.found)
        distances = np.linalg.norm(faces[:, None] - faces[None], axis=2)
        return int((distances < SAME_PERSON).sum(axis=1).max())

    @property
    def is_one_person(self) -> bool:
        """Whether most pictures show one and the same person."""
        return self.num_alike >= max(2, MOST * self.num_pictures)
