"""Dialogues of this file are made up for it; the labelled ones that the rules are scored on are in tests/data."""

import re
from pathlib import Path

import pytest

from bench import roles as bench
from domain.transcript import Segment
from workers.stages import roles
from workers.stages.roles import PATIENT, PROVIDER, Talk, Voice, assign

SAMPLE = Path(__file__).parents[3] / "samples" / "consultation.txt"

CONSULTATIONS = {
    "en": """
        Good afternoon, come in and have a seat. What brings you in today?
        My knee. I've had a pain in it for two weeks and I can't climb the stairs.
        Did you hurt it? Is there any swelling or numbness?
        Yes, it's been swollen since Sunday. I feel it most at night.
        Lie down and bend your knee for me. Does that hurt?
        Ow, yes. Is it serious, doctor?
        I don't think so, your ligaments are fine. I'd like you to take ibuprofen twice a day and come back in a week.
        Thank you so much, doctor.
    """,
    "es": """
        Buenas tardes, pase y siéntese. ¿Qué le trae por aquí?
        Me duele la rodilla desde hace dos semanas, doctora, y no puedo subir escaleras.
        ¿Se ha dado algún golpe? ¿Ha notado la rodilla hinchada?
        Sí, la tengo hinchada desde el domingo. Me despierto por las noches.
        Túmbese y doble la pierna, le voy a explorar. ¿Le duele aquí?
        Ay, sí. ¿Es grave?
        No es grave, tiene un poco de inflamación. Le receto ibuprofeno cada ocho horas y vuelva en una semana.
        Muchas gracias, doctora.
    """,
    "pt": """
        Boa tarde, pode entrar, sente-se. O que traz o senhor aqui?
        Estou com dor no joelho há duas semanas, doutora, não consigo subir escada.
        O senhor caiu? Teve febre ou notou algum inchaço?
        Sim, tá inchado desde domingo. Eu acordo de noite com a dor.
        Deita aqui, deixa eu ver esse joelho. Dói quando eu aperto?
        Ai, dói muito. É grave, doutora?
        Não é grave, está um pouco inflamado. Vou receitar ibuprofeno de oito em oito horas e volta em uma semana.
        Muito obrigado, doutora.
    """,
    "fr": """
        Bonjour, entrez, asseyez-vous. Qu'est-ce qui vous amène ?
        J'ai mal au genou depuis deux semaines, docteur, je n'arrive plus à monter les escaliers.
        Êtes-vous tombé ? Avez-vous de la fièvre ou le genou gonflé ?
        Oui, il est gonflé depuis dimanche. Ça me réveille la nuit.
        Allongez-vous et pliez la jambe, je vais vous examiner. Ça fait mal là ?
        Aïe, oui. C'est grave, docteur ?
        Rien de grave, c'est une inflammation. Je vous prescris de l'ibuprofène trois fois par jour et on se revoit.
        Merci beaucoup, docteur.
    """,
}

FRIENDS = {
    "en": """
        Have you been to the doctor about your back yet?
        No, I keep putting it off. It hurts when I sit.
        You should really go, my sister had the same thing.
        What did they give her?
        Some tablets and physio, she's fine now.
        I don't want to take painkillers all the time.
        Have you tried a cream? It worked for my knee.
        I'll try it, thanks.
    """,
    "es": """
        ¿Cómo sigues del dolor de espalda?
        Igual, me duele al levantarme.
        ¿Has tomado algo? Mi hermana tenía lo mismo y le dieron unas pastillas.
        Yo tomo ibuprofeno y ya.
        Tienes que descansar, y prueba con calor.
        Sí, eso haré.
    """,
    "pt": """
        E aí, melhorou da dor nas costas?
        Nada, tô com dor até pra sentar.
        Eu tomei um remédio que foi ótimo, e fiz fisioterapia.
        Qual remédio?
        Um anti-inflamatório, mas tem que ver se pode.
        Vou ver se marco.
    """,
    "fr": """
        Alors, ton dos, ça va mieux ?
        Bof, j'ai toujours mal quand je me lève.
        Moi, j'ai pris des anti-inflammatoires et du kiné.
        Et ça a marché ?
        Oui, mais il faut faire les exercices. Tu as de la fièvre ?
        Non, juste la douleur.
    """,
}

WARD_ROUND = """
    0 Good morning Mrs Brown, I'm Dr Hall. How are you feeling, any pain in your chest?
    2 I've had a bit of pain since last night, doctor, and I feel dizzy. My legs ache.
    1 I'm the ward nurse. Have you had any fever? Let me check your blood pressure and take your temperature.
    2 No fever. I can't sleep, my back hurts.
    0 Take a deep breath for me. Your lungs are clear. I'd like you to have an x-ray today.
    1 Hold your arm still. Your blood pressure is fine. I'll give you two tablets twice a day with food.
    2 Thank you, doctor.
"""

WITH_HER_DAUGHTER = """
    0 Good morning, have a seat. What brings you in? Any pain?
    2 I've had a pain in my chest since yesterday, doctor. I feel dizzy and I can't sleep.
    1 She's been like this for a week. She hasn't eaten, my mother, she never complains.
    0 Are you taking your tablets? Let me listen to your chest, take a deep breath.
    1 She's forgetting them, she has four boxes.
    2 My legs are swollen and I get tired.
    0 Your heart sounds fine. I'd like you to take one tablet twice a day, and come back if it gets worse.
    2 Thank you, doctor.
"""

HANDOVER = """
    0 Bed four, day two of the pneumonia, on antibiotics. I'd like a repeat chest x-ray, and check her temperature.
    1 Her blood pressure is fine, temperature is down. I'll order the x-ray, we'll stop the oxygen.
    0 Any pain? Is she taking the tablets twice a day? We should give the injection with food.
    1 Are you happy to start the insulin? I'm going to prescribe ten milligrams twice a day.
"""

GARAGE = """
    0 Morning, come in. What can I do for you?
    1 It's my car. It makes a noise since yesterday, it's worse in the morning.
    0 How long has it been doing that? Have you noticed anything else?
    1 About two weeks. Is it serious?
    0 I'll have a look. Open the bonnet for me. I'd like to order the parts, come back on Thursday.
    1 Thank you very much.
"""

TALK_ABOUT_HOUSES = """
    0 Good morning, have a seat. What brings you in, and what can I do for you today?
    1 I've been looking for a house since March, and my wife and I need a garden and a quiet street near the school.
    0 Have you had time to look at the list? Tell me how many rooms you want, and how long you can wait.
    1 I feel that three are enough. My work is close by, and I can't drive all day, so a station would help us a lot.
    0 I'd like you to see two of them on Friday, and then we'll talk about the price and the contract you have to sign.
    1 Thank you so much, I was worried that it would take us years to find a place with a roof that does not leak.
"""


def told(dialogue: str) -> list[Segment]:
    """A dialogue with the speaker before each turn."""
    turns = [line.strip().split(" ", 1) for line in dialogue.splitlines() if line.strip()]
    return [
        Segment(start=second, end=second + 1, text=text, speaker_tag=int(tag))
        for second, (tag, text) in enumerate(turns)
    ]


def in_turn(dialogue: str, *, first: int = 0) -> list[Segment]:
    """A dialogue of two who take turns."""
    lines = dialogue.strip().splitlines()
    return told("\n".join(f"{(first + turn) % 2} {line.strip()}" for turn, line in enumerate(lines)))


def scores(segments: list[Segment], language: str) -> list[float]:
    """Of every voice, as the gap to one who says nothing."""
    silent = Voice(tag=99)
    voices = roles.listen(segments, language)
    talk = Talk([*voices, silent], roles.shipped_weights())
    return [talk.gap(voice, silent) for voice in voices]


def as_heard(segments: list[Segment]) -> list[Segment]:
    """As an engine without punctuation writes it."""
    return [
        segment.model_copy(update={"text": " ".join(re.sub(r"[^\w'’ -]", " ", segment.text).lower().split())})
        for segment in segments
    ]


@pytest.mark.parametrize("language", CONSULTATIONS)
def test_provider_and_patient_are_told_apart_in_each_language(language: str) -> None:
    assert assign(in_turn(CONSULTATIONS[language]), language).roles == {0: PROVIDER, 1: PATIENT}


@pytest.mark.parametrize("language", CONSULTATIONS)
def test_capitals_and_punctuation_are_not_needed(language: str) -> None:
    assert assign(as_heard(in_turn(CONSULTATIONS[language])), language).roles == {0: PROVIDER, 1: PATIENT}


@pytest.mark.parametrize("language", CONSULTATIONS)
def test_it_does_not_matter_which_tag_a_speaker_has(language: str) -> None:
    assert assign(in_turn(CONSULTATIONS[language], first=1), language).roles == {1: PROVIDER, 0: PATIENT}


def test_accents_may_be_written_either_way_or_not_at_all() -> None:
    bare = CONSULTATIONS["pt"].translate(str.maketrans("áâãàéêíóôõúç", "aaaaeeiooouc"))
    assert scores(in_turn(bare), "pt") == scores(in_turn(CONSULTATIONS["pt"]), "pt")


def test_a_typographic_apostrophe_is_an_apostrophe() -> None:
    typeset = CONSULTATIONS["en"].replace("'", "’")
    assert scores(in_turn(typeset), "en") == scores(in_turn(CONSULTATIONS["en"]), "en")


def test_a_turn_may_come_in_several_segments() -> None:
    words = [
        segment.model_copy(update={"text": word})
        for segment in in_turn(CONSULTATIONS["en"])
        for word in segment.text.split()
    ]
    assert scores(words, "en") == scores(in_turn(CONSULTATIONS["en"]), "en")


def test_the_shipped_consultation_gets_its_roles_as_an_engine_hears_it() -> None:
    lines = [line.split(None, 3)[2:] for line in SAMPLE.read_text(encoding="utf-8").splitlines() if line.strip()]
    tags = {"provider": 0, "patient": 1}
    segments = as_heard(told("\n".join(f"{tags[role]} {text}" for role, text in lines)))
    assert assign(segments, "en-US").roles == {0: PROVIDER, 1: PATIENT}


@pytest.mark.parametrize("tag", ["pt-BR", "pt-PT", "PT"])
def test_the_base_of_a_language_tag_counts(tag: str) -> None:
    assert assign(in_turn(CONSULTATIONS["pt"]), tag).roles == {0: PROVIDER, 1: PATIENT}


@pytest.mark.parametrize("tag", [None, "de", "", "../en"])
def test_without_words_for_the_language_nobody_gets_a_role(tag: str | None) -> None:
    assert assign(in_turn(CONSULTATIONS["en"]), tag).roles == {}


@pytest.mark.parametrize("language", FRIENDS)
def test_friends_who_talk_about_their_health_get_no_role(language: str) -> None:
    assert assign(in_turn(FRIENDS[language]), language).roles == {}


@pytest.mark.parametrize("dialogue", [GARAGE, TALK_ABOUT_HOUSES], ids=["garage", "houses"])
def test_advice_about_other_things_than_health_gets_no_role(dialogue: str) -> None:
    found = assign(told(dialogue), "en")
    assert (found.roles, "consultation" in found.why) == ({}, True)


def test_without_a_word_of_the_body_no_advice_makes_a_consultation() -> None:
    at_the_photographer = """
        Good morning, come in, have a seat. What can I do for you? How are you today?
        I need a picture for my passport. I've been putting it off, I don't like it.
        Don't worry. Let me have a look. Look straight up. Hold still for me. I'm just going to check. That's great.
        Is it going to be okay?
        It looks good, that's very common. I'd like you to try to relax, and we'll do it again. All done.
        Thank you very much. How long will it take?
        You should come back on Friday. If you don't like it, call me, and make sure you bring the receipt.
        Okay, I'll do that.
    """
    assert assign(in_turn(at_the_photographer), "en").roles == {}


def test_a_few_clinical_words_in_a_long_talk_do_not_make_a_consultation() -> None:
    aside = """
        0 The last owner had asthma, and a fever, and a cough. Any allergies? Your hay fever? It's just the dust.
        1 No, none. I've had a headache since this morning.
        0 You should take a tablet with food. Let me look at your eyes. They look a bit red, it's probably the paint.
    """
    short, long = told(TALK_ABOUT_HOUSES + aside), told(TALK_ABOUT_HOUSES * 6 + aside)
    assert assign(short, "en").roles == {0: PROVIDER, 1: PATIENT}, "else the length is not what the next line is about"
    assert assign(long, "en").roles == {}


def test_words_of_another_setting_outweigh_clinical_ones() -> None:
    said = """
        Hello, come on through. What seems to be the trouble with {name}?
        He's been limping since Saturday, and he was sick on the {floor}.
        Has he had a fever? Let me have a feel of his leg. Does it hurt here?
        He {cries} when you touch it. Is it serious?
        There's some swelling. I'll give him an injection and a tablet twice a day with food. Keep him {quiet}.
        Thank you so much.
    """
    child = {"name": "Jamie", "floor": "carpet", "cries": "cries", "quiet": "quiet for a week"}
    dog = {"name": "the dog", "floor": "kibble", "cries": "growls", "quiet": "on the lead, and look after the paw"}
    assert assign(in_turn(said.format(**child)), "en").roles == {0: PROVIDER, 1: PATIENT}
    assert assign(in_turn(said.format(**dog)), "en").roles == {}


def test_two_clinicians_at_a_handover_are_not_made_provider_and_patient() -> None:
    assert assign(told(HANDOVER), "en").roles == {}


def test_two_providers_and_their_patient_all_get_their_roles() -> None:
    assert assign(told(WARD_ROUND), "en").roles == {0: PROVIDER, 1: PROVIDER, 2: PATIENT}


def test_a_companion_gets_no_role() -> None:
    found = assign(told(WITH_HER_DAUGHTER), "en").roles
    assert found[0] == PROVIDER
    assert 1 not in found


def test_who_speaks_for_somebody_else_is_not_the_patient_when_there_are_three() -> None:
    worried = """
        0 Good morning, have a seat. What brings you in? Any pain?
        1 She's had a fever since yesterday, doctor. I feel sick with worry, I can't sleep. My mother never complains.
        2 This one. That one hurts? You look. Have you seen?
        0 Are you taking your tablets? Let me listen to your chest, take a deep breath.
        1 No, she's forgetting them since last week. Is it serious, doctor?
        0 Your heart sounds fine. I'd like you to take one tablet twice a day, and come back if it gets worse.
    """
    assert assign(told(worried), "en").roles == {0: PROVIDER}


def test_of_two_who_may_be_the_provider_neither_is_called_it() -> None:
    asked_by_both = """
        0 Have you had any pain in your chest? Let me listen. I'd like you to take one tablet twice a day.
        2 I've had a pain in my chest since yesterday, doctor. I feel dizzy and I can't sleep.
        1 Did you sleep? Have you had any fever? I'd like you to rest. My mother was the same.
        2 My legs are swollen and I get tired, my back hurts.
        1 You need to drink more, and you mustn't worry. Where is the pain?
        2 Thank you, doctor.
    """
    assert assign(told(asked_by_both), "en").roles == {2: PATIENT}


def test_a_companion_who_helps_with_the_questions_is_no_second_provider() -> None:
    questions = "\n1 Have you had any pain? Did you sleep? Your legs are swollen. Let's try the tablets, don't worry."
    assert 1 not in assign(told(WITH_HER_DAUGHTER + questions), "en").roles


def test_a_companion_who_repeats_what_a_provider_said_is_no_second_provider() -> None:
    quoted = "\n1 She said: have you had any pain, take two tablets twice a day, don't worry. She's afraid, doctor."
    assert 1 not in assign(told(WITH_HER_DAUGHTER + quoted), "en").roles


def test_a_journalist_who_asks_a_patient_is_no_provider() -> None:
    interview = """
        Welcome, come in, have a seat. How long have you had diabetes?
        Since I was nine. I've had injections every day, and my mother was scared.
        When did the numbness in your feet start? Do you have pain?
        About two years ago. I can't feel my toes, it burns at night.
        How did you find out? Did you think about surgery?
        I was worried. I've had an infection since last year.
        Thanks for coming in today.
        Thank you so much.
    """
    assert assign(in_turn(interview), "en").roles == {}


def test_two_hits_in_an_hour_are_no_authority() -> None:
    welcome = "\n0 Come in, sit down. What's going on? Any pain? Your knee looks swollen. I'd like you to rest.\n1 Yes."
    chat = "\n".join(f"{turn % 2} {line.strip()}" for turn, line in enumerate(FRIENDS["en"].strip().splitlines()))
    assert assign(told(chat + welcome), "en").roles == {0: PROVIDER, 1: PATIENT}, "else the length is not what counts"
    assert assign(told(f"{chat}\n" * 12 + welcome), "en").roles == {}


def test_a_parent_who_speaks_for_a_child_is_the_patients_side_of_two_voices() -> None:
    dialogue = """
        Hello, come in. What's the problem with the little one?
        She's been coughing since Monday, doctor, and she had a fever last night. She won't eat.
        Has she had any vomiting or diarrhea? Let me listen to her chest. Deep breath.
        No, but she's not sleeping. Is it serious?
        It's probably a virus. I'd like you to give her paracetamol, five milligrams twice a day, plenty of fluids.
        Thank you so much.
    """
    assert assign(in_turn(dialogue), "en").roles == {0: PROVIDER, 1: PATIENT}


def test_too_little_said_gives_no_role() -> None:
    assert assign(in_turn("Morning.\nMorning, come in.\nThanks.\nSo, any better?\nA bit, yeah."), "en").roles == {}


@pytest.mark.parametrize("tags", [(None, None), (0, 0), (0, None)])
def test_without_two_speakers_told_apart_nobody_gets_a_role(tags: tuple[int | None, int | None]) -> None:
    segments = [
        segment.model_copy(update={"speaker_tag": tags[turn % 2]})
        for turn, segment in enumerate(in_turn(CONSULTATIONS["en"]))
    ]
    assert assign(segments, "en").roles == {}
    assert assign([], "en").roles == {}


def test_a_speaker_who_says_no_word_is_no_speaker() -> None:
    provider = [segment for segment in in_turn(CONSULTATIONS["en"]) if segment.speaker_tag == 0]
    silent = Segment(start=99, end=100, text=" … ", speaker_tag=7)
    assert assign([*provider, silent], "en").why == "there are no two speakers to tell apart"


def test_confidence_falls_as_the_voices_mix() -> None:
    """A diarizer that gives every fourth turn to the wrong voice brings the voices nearer to each other."""
    clear = in_turn(CONSULTATIONS["en"])
    mixed = [*clear[:6], clear[6].model_copy(update={"speaker_tag": 1}), clear[7].model_copy(update={"speaker_tag": 0})]
    worse = [segment.model_copy(update={"speaker_tag": turn // 2 % 2}) for turn, segment in enumerate(clear)]
    found = [assign(segments, "en") for segments in (clear, mixed, worse)]
    assert 0.99 >= found[0].confidence >= found[1].confidence > found[2].confidence == 0
    assert found[2].roles == {}


def test_the_reason_quotes_nothing_of_what_was_said() -> None:
    found = assign(in_turn(CONSULTATIONS["en"].replace("knee", "zygomatic")), "en")
    assert found.roles
    assert found.why == "from what the speakers say"


@pytest.mark.parametrize("language", sorted(roles.LANGUAGES))
def test_each_language_has_words_for_every_cue_and_none_that_matches_nothing(language: str) -> None:
    cues = roles._cues(language)
    weighed = {*roles.shipped_weights().role, *roles.ELSEWHERE, *roles.VOCABULARY}
    assert set(cues) == weighed == {*bench.EXPECTED_ROLE, *roles.ELSEWHERE, *roles.VOCABULARY}
    assert [cue for cue, pattern in cues.items() if pattern.search("") or pattern.search("0 0")] == []


@pytest.mark.parametrize("language", bench.LANGUAGES)
def test_on_the_development_dialogues_nobody_gets_a_wrong_role(language: str) -> None:
    scored = bench.answers(bench.DIALOGUES, language)
    assert [answer.name for answer in scored if answer.wrong] == []
    assert sum(answer.clinical and not answer.answered for answer in scored) <= len(scored) / 4


def _numbered(language: str) -> list[str]:
    return [f"{turn % 2} {line.strip()}" for turn, line in enumerate(CONSULTATIONS[language].strip().splitlines())]
