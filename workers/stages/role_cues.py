"""What gives a provider or a patient away, by language: the word lists of `workers.stages.roles`.

Each line of a cue is one regular expression over a turn of speech in lower case, without punctuation ("?" stays, as a
word of its own) and without regard to accents; it matches whole words. `^` and `$` are the ends of the turn, and
`{body}`, `{symptom}` and `{treatment}` stand for the words of these three lists.

The lists know speech, not spelling: they hold what is said aloud, so that a transcript without capitals, commas and
question marks loses nothing but the cue `question_mark`. Every language has every cue.
"""

from typing import Final

Cues = dict[str, str]

ENGLISH: Final[Cues] = {
    "body": r"""
        head|neck|throat|ears?|eyes?|nose|mouth|tongue|tooth|teeth|gums?|jaw|face|shoulders?|arms?|elbows?|wrists?
        hands?|fingers?|thumbs?|chest|heart|lungs?|breasts?|back|spine|stomach|belly|tummy|abdomen|hips?|groin|bladder
        kidneys?|bowels?|legs?|thighs?|knees?|calf|ankles?|foot|feet|toes?|skin|wound|scar|sleeves?|top|shirt
    """,
    "symptom": r"""
        pains?|painful|aches?|aching|headaches?|migraines?|fevers?|temperature|cough|coughing|wheez\w*|breathless\w*
        short(ness)? of breath|dizz\w*|faint\w*|nause\w*|vomit\w*|diarrh\w*|constipat\w*|bleeding|bruis\w*|rash
        itch\w*|hives|swell\w*|swollen|lumps?|numb\w*|tingling|weakness|fatigue|chills|palpitations|heartburn|cramps?
        spasms?|stiff\w*|sore|soreness|burning|phlegm|infections?|infected|allerg\w*|seizures?|weight loss|sweats|blood
        blisters?|anxiety|depress\w*|panic|stools?|pee|urine|wee|suicid\w*|mood|trouble (breathing|sleeping|swallowing)
    """,
    "treatment": r"""
        tablets?|pills?|capsules?|medication|medications|medicines?|doses?|milligrams?|prescri\w+|antibiotics?
        inhalers?|injections?|insulin|steroids?|ointment|painkillers?|paracetamol|acetaminophen|ibuprofen|aspirin
        \w+cillin|\w+statin|\w+[a-z]pril|\w+sartan|\w+olol|\w+azole|\w+formin|\w+mycin|\w+dipine|\w+oxetine|\w+traline
        x ?rays?|ultrasound|m ?r ?i|scan|e ?[ck] ?g|biopsy|blood tests?|blood count|swab|referral|surgery|physio\w*
        blood pressure|cholesterol|diabet\w+|asthma|symptoms?|vaccin\w+|stitches|catheter|blood thinner|antidepressants?
        root canal|filling|chemo\w*|anesthetic|anaesthetic|midwife|gp|cardiolog\w+|specialist
    """,
    "opens": r"""
        what brings you|what can (i|we) do for you|(how|what) can i help|what seems to be|come (on )?(in|through)
        (have|take|grab) a seat|sit down|(i'm|this is|i am) (dr|doctor|nurse)|i'm one of the|calling about your
        date of birth|what's (been )?(going on|happening|bothering|troubling|the (problem|matter|trouble))
        your (appointment|notes|chart|file|results)|since (we|i) (last )?saw you|thanks for coming|my name's
    """,
    "asks": r"""
        have you (had|noticed|ever|been|taken|tried|passed|got|felt|any|lost|changed)|(any|or) (other )?{symptom}
        are you (taking|allergic|sleeping|eating|still|on any|bringing|having|getting|passing|able|feeling|pregnant)
        do you (smoke|drink|have|get|feel|take|ever|use|live|exercise|notice|sleep|know if|think about)|did you
        does (it|that|this|he|she|anything)|any (other|family|history|allerg\w+|changes?|problems?|questions|trouble)
        how long (have|has|did|does|ago)|when did|how (is|has|'s|are|have|was) (the|your|that|you)|how many|how often
        (zero|one|nought) to ten|out of ten|where (is|does|exactly)|which (arm|leg|side|ear|one|knee|tooth|eye|foot)
        what (were you|happens|kind|sort|colour|color|time|makes|medic\w+)|tell me|how's|is (it|the \w+) (worse|better)
        (has|is) (he|she|your \w+) (had|been|eating|drinking|taking|sleeping|moving|feeding)|anything else
    """,
    "examines": r"""
        (lift|raise|open|close|bend|turn|hold|show|give|put|pop|roll|stand|lie|squeeze|push|look|breathe|relax|keep|let)
        +(me )?(your|it|up|down|still|wide|straight|in|out|forward|back|over)
        (deep|big) breath|breathe (in|out)|listen to your|have a (look|listen|feel)|take a (look|listen)|examine
        check your|little pinch|sharp scratch|follow my|tap on|you'll feel|let me (see|look|feel|check|listen)|say ah
        take your (blood|temperature|pulse)|i'm (just )?(going to|gonna) (press|touch|listen|feel|check|look|tap)
        deep breaths|on the couch|on (to )?the table|for me$|does (that|this) hurt
    """,
    "plans": r"""
        i'd like (you|to)|i would like (you )?to|i want (you )?to|i'm (going to|gonna)|(i'd|i would) (suggest|recommend)
        i'll (give|write|prescribe|send|refer|put|order|start|book|get|do|see you|arrange|have|ask)|we'll|let's
        we (can|will|should|are going to|need to|could)|we're (going to|gonna)|i'm thinking|i (suggest|recommend)
        you (need to|should|must|'ll need|can (take|stop|start|go|have))|(come|call) (back|us|me)|make sure|try to
        don't (take|skip|rub|drive|worry|rush|stop|lift)|(start|stop|keep|take|drink|use|try) (taking|the|one|two|it)
        if (it|you|your|the|that|there's|things) (\w+ )?(doesn't|don't|gets?|starts?|feels?|have|notice|worse|comes?)
        (see|saw) you (again )?(in|on|next)|follow up|we can rule
    """,
    "finds": r"""
        your ({body}|blood pressure|sugar|cholesterol|results?|levels?|tests?|scan|thyroid|iron|heart rate|b ?p) (is|are)
        your ({body}|blood pressure|sugar|cholesterol|results?|levels?|tests?|scan|thyroid) (looks?|has|have|was|shows?)
        (it's|it is|this is) (called|what we call|probably|likely|just a|most likely)|looks? (clean|good|fine|normal|like)
        that's (normal|very common|common|a good sign|quite|good)|(results?|tests?|scan|bloods|x ?ray) (shows?|came|looks?)
        good news|nothing to worry|sorry to hear|i (can )?(see|hear|feel) (a|some|no|any)|sounds like|that can be
        a little (wheeze|swelling|redness|fluid|high|low)|we see
    """,
    "doses": r"""
        milligrams?|mg|(once|twice|(two|three|four) times) (a|per) day|(once|twice) daily|every (four|six|eight|\d) hours
        with food|(before|after) (meals|food|breakfast|bed)|course of|the full course|side effects?|prescri\w+
    """,
    "you": r"you|your|you're|you've|you'll|yourself",
    "suffers": r"""
        i('ve| have) (had|got|been|a|this|noticed|started)|i (feel|felt|woke|wake|noticed|threw|fell|hurt|ache|keep|kept)
        i (can't|cannot|couldn't|can barely|can hardly)|it (hurts|kills|itches|burns|stings|throbs|aches|comes|started)
        it (feels|pulls|gets worse|goes away|won't stop|wakes|keeps)|i'm (so )?(tired|worried|scared|allergic|exhausted)
        i (was|am|get|got|had|have) (a |an |so |really |very |some )*({symptom}|sick|tired|dizzy|scared|worried)|it's (sore|worse)
        i'm (having|getting|not sleeping|taking|in pain|waking)|i (take|took|stopped|forget|forgot|tried|used to|don't)
        it's (been|like|a bit|more|mostly|just|this|my)|(really|so|very) (sore|tired|painful|bad|scared)|i thought
    """,
    "mine": r"""
        my (left |right |lower |upper )?({body}|pain|cough|tablets|pills|meds|medication|blood pressure|sugars?|periods?)
        my (mum|mom|mother|dad|father|wife|husband|son|daughter|work|job|boss|sister|brother|neighbou?r|kids?|partner)
    """,
    "third_person": r"""
        (she's|he's|she|he) (been|not|had|having|has|is|was|won't|doesn't|keeps?|hasn't|said|says|woke|gets|hates|can't)
        my (son|daughter|baby|little (one|boy|girl)|wife|husband|mother|father|mum|mom|dad)
    """,
    "since": r"""
        since|ago|last (night|week|month|year)|yesterday|this morning|at night|in the (morning|night|evening)|all (day|night)
        for (about |almost |like |the last )?(a few|a couple of|two|three|four|five|six|\d+|a) (days|weeks?|months?|years)
        (sometimes|a while|now and then|on and off)
    """,
    "answers": r"""
        ^(yes|yeah|yep|no|nope|nah|not (really|too|that|so|bad|much|any)|mm+|uh uh|uh huh|a (bit|little|few)|sometimes)
        ^(about|maybe|i think|i don't|none|never|only|just|since|well|um+|it's|it is|my|like|oh)
        i think so|i guess|i suppose|i don't know|not sure|don't think so
    """,
    "seeks": r"""
        (can|should|could|shall|must|do|will|may) i (?!just|have a (look|listen|feel)|see|check|take a|ask|examine|listen|get)
        is (it|that|this) (serious|bad|dangerous|normal|contagious|cancer|safe|okay|going to)|do i (need|have)
        am i|how long will|do you think|what (is|does) that|will it|i('m| was) (worried|afraid|wondering)|is there (a|any)thing
        thank you (so|very) much|okay thank you|thank you doctor|i'll (try|do that)|will do
    """,
    "to_doctor": r"(doctor|doc)( \?)?$|^(\w+ ){0,3}(doctor|doc)|thank(s| you) (doctor|doc)|(the|my|other) doctor (said|told|gave)",
    "me": r"i|i'm|i've|me|my|i'd",
    "question_mark": r"\?",
    "elsewhere": r"""
        episode|podcast|listeners?|sponsor|subscribe|viewers|your (car|dog|cat|puppy|kitten)|engine|brakes?|tyres?|tires
        order number|refund|delivery|invoice|homework|salary|mortgage|the bank|(see|seen|call|go to) (a|the|your) (doctor|gp)
        the vet|coach|cv|resume|interview|haircut|recipe|flights?|booking
    """,
}

SPANISH: Final[Cues] = {
    "body": r"""
        cabeza|cuello|garganta|oídos?|orejas?|ojos?|nariz|boca|lengua|dientes?|muelas?|encías?|mandíbula|cara|hombros?
        brazos?|codos?|muñecas?|manos?|dedos?|pecho|corazón|pulmón|pulmones|senos?|espalda|columna|estómago|barriga
        panza|vientre|abdomen|caderas?|ingle|vejiga|riñón|riñones|piernas?|muslos?|rodillas?|tobillos?|pies?|piel
        herida|cicatriz|manga|camisa|lado
    """,
    "symptom": r"""
        dolor|dolores|duele|duelen|dolía|jaquecas?|migrañas?|fiebre|calentura|temperatura|tos|toser|flemas?|silbidos?
        falta de aire|ahog\w+|mare\w+|desmay\w+|náuseas?|vómitos?|vomit\w+|diarrea|estreñ\w+|sangrado|sangre|sangra\w*
        moretones?|sarpullido|erupción|ronchas?|pic(a|an|or|azón)|comezón|hinch\w+|inflama\w+|bultos?|entumec\w+
        hormigueo|adormec\w+|debilidad|cansancio|escalofríos|palpitaciones|acidez|calambres?|rígid\w+|ardor|arde
        infección|infectad\w+|alergias?|alérgic\w+|convulsiones?|sudor\w*|ansiedad|depresión|deprimid\w+|insomnio|orina\w*
    """,
    "treatment": r"""
        pastillas?|tabletas?|comprimidos?|cápsulas?|medicamentos?|medicinas?|medicación|dosis|miligramos|recet\w+
        antibióticos?|inhalador|inyecci(ó|o)n(es)?|insulina|corticoides?|pomada|crema|jarabe|analgésicos?|paracetamol
        ibuprofeno|aspirina|\w+cilina|\w+statina|\w+april|\w+sartán|\w+olol|\w+prazol|metformina|\w+micina|\w+dipino
        radiografía|placa|ecografía|ultrasonido|resonancia|electrocardiograma|biopsia|análisis|analítica|cirugía
        fisioterapia|presión arterial|la (presión|tensión)|colesterol|diabet\w+|asma|síntomas?|vacunas?|puntos|sonda
        azúcar|glucosa|operación|especialista|cardiólog\w+|anestesia|quimio\w*|embarazo|antidepresivos?|gotas|consulta
    """,
    "opens": r"""
        qué (le|te|lo|la) (trae|pasa|ocurre|sucede)|en qué (le|te|lo|la)? ?puedo|cuénteme|cuéntame|dígame|pase|adelante
        siéntese|tome asiento|siéntate|soy (el|la) (doctora?|dra?|enfermer\w)|cuál es el motivo|le (llamo|atiendo)
        fecha de nacimiento|qué tal (está|se encuentra|va|sigue|se ha)|cómo (le|te) (va|ha ido)|cómo se (siente|encuentra|ha)
        (su|tu) (cita|historial|expediente|historia)|sus (resultados|análisis)
    """,
    "asks": r"""
        (ha|has) (tenido|notado|tomado|estado|sentido|perdido|tenido|probado|vuelto|cambiado|podido|dormido|visto)
        (tiene|tienes|siente|sientes|nota|notas) (algun\w*|fiebre|dolor|tos|alergias?|náuseas|mareos|hijos|molestias|otr\w)
        (fuma|fumas|bebe|duerme|duermes|come usted|toma|tomas) (usted|algo|algún|alguna|alcohol|bien|la|el|los|las|otr\w)
        (le|te) (duele|molesta|pica|arde|cuesta|da|pasa|han|ha)|es (usted )?alérgic\w|eres alérgic\w|se (marea|cansa|ahoga)
        (desde cuándo|hace cuánto|cuándo (empezó|comenzó|fue|le|te)|cuánto tiempo|cuántas?|cuántos|cada cuánto|con qué frecuencia)
        del (uno|cero|1|0) al (diez|10)|dónde (le|te|siente|es|exactamente)|alguna? (alergia|enfermedad|otr\w|molestia|operación)
        algún (dolor|síntoma|medicamento|problema|antecedente|cambio)|antecedentes|y (la|el|los|las) \w+ (cómo|qué tal)
        qué (medicamentos|tipo|color|medicina|estaba|siente|hace|come|pastillas|dosis)|(fuma|bebe|vomita|ronca|duerme)
        (está|estás) (tomando|comiendo|durmiendo|embarazada)|(hay|tiene) (fiebre|sangre|dolor|vómitos|antecedentes)|algo más
    """,
    "examines": r"""
        (abra|abre|levante|levanta|respire|respira|acuéstese|túmbese|túmbate|recuéstese|quítese|quítate|enséñeme|muéstreme)
        (déjeme|déjame|vamos a) (ver|revisar|mirar|escuchar|examinar)|(doble|dobla|gire|gira|cierre|cierra|apriete|empuje) \w+
        (saque|saca) la lengua|respire (hondo|profundo)|(voy a|le voy a|te voy a) (escuchar|explorar|revisar|examinar|tocar|mirar)
        (voy a|le voy a|te voy a|vamos a) (tomar(le|te)?|medir(le|te)?|auscultar(le|te)?|pinchar(le|te)?|palpar(le|te)?)
        súbase|súbete|póngase de|levántese|levántate|no se mueva|relaje|tosa|mire (aquí|hacia|al|mi)|aguante|suelte|descúbr\w+
        a ver (esa|ese|la|el|esos|esas)|(duele|dolor) (aquí|cuando (aprieto|toco|presiono))|arremáng\w+|remáng\w+
    """,
    "plans": r"""
        (le|te|les) (voy a|vamos a)|vamos a|(le|te) (receto|mando|doy|pido|recomiendo|aconsejo|cambio|pongo|dejo|subo|bajo)
        (tiene|tienes) que|(debe|debes|debería|deberías)|(tome|tómese|tómate|póngase|use|aplique|beba|evite|descanse|haga)
        (vuelva|vuelve|regrese|regresa|venga|llámeme|llame|acuda|vaya)|quiero que|me gustaría (que|hacer\w*|ver\w*|pedir\w*)
        (le|te) (recetaré|mandaré|pediré|daré|haré|veo|derivo)|(nos vemos|la veo|lo veo|te veo) (en|el|la)|conviene
        si (no mejora|empeora|tiene|nota|sigue|le|aparece|hay)|no (deje|tome|olvide|se preocupe|te preocupes|haga|suspenda)
        hay que|podemos|es importante|durante (una semana|\w+ días)|empez(amos|aremos)|siga con|deje de|suspenda
    """,
    "finds": r"""
        (su|tu) ({body}|presión|tensión|azúcar|colesterol|corazón|prueba|radiografía) (está|es|se ve|ha)|(sus|tus) \w+ (están|son|salieron)
        se (ve|ven|oye|escucha|nota) (un|una|bien|mejor|limpi\w+|algo)|(es|parece|puede ser|probablemente sea) (un|una) \w+
        (es|está) (normal|dentro de lo normal)|(los resultados|el análisis|la placa|la radiografía|la prueba|la ecografía)
        buenas noticias|no es (nada )?grave|tiene (la|el) ({body}|presión|tensión|azúcar|colesterol)|veo (que|un|una|algo)
        lo que (tiene|usted tiene) es|está (un poco|algo) (alt\w|baj\w|inflamad\w|irritad\w)|eso es (normal|bueno)|siento oír
    """,
    "doses": r"""
        miligramos|mg|(una|dos|tres|cuatro) veces al día|cada (seis|ocho|doce|veinticuatro|\d+) horas|(antes|después) de (comer|las comidas|cenar|desayunar|dormir)
        con (la|las) comidas?|en ayunas|una (al día|cada)|por la (mañana|noche) y|recet\w+|efectos secundarios|tratamiento
    """,
    "you": r"usted|su|sus|le|les|tu|tus|te|ti|tiene|tienes|está usted|señora?|don|doña",
    "suffers": r"""
        me (duele|duelen|siento|sentí|da|dan|pica|mareo|cuesta|despierto|canso|ahogo|arde|molesta|pasa|dio|noto|preocupa|empezó|levanto|salió|sale)
        (tengo|tuve|tenía|he tenido|estoy con|ando con) (un |una |mucho |mucha |como |la |el |muchos )*(dolor|tos|fiebre|{symptom}|miedo|{body})
        no (puedo|duermo|he podido|me deja|aguanto|podía)|me (caí|corté|torcí|quemé|golpeé|desperté|puse|tomé)
        estoy (cansad\w|preocupad\w|mal|agotad\w|tomando|muy|peor|mejor)|(tomo|tomé|fumo|dejé|he tomado|se me \w+|he estado|llevo|noto|vomité|probé)
        es como (si|un|una)|he (notado|estado|tenido|dejado|perdido|dormido|vomitado|probado)|siento|pensé|creo que
    """,
    "mine": r"""
        (mi|mis) ({body}|dolor|tos|pastillas|medicinas?|presión|tensión|azúcar|regla)|mi (madre|mamá|padre|papá|esposo|esposa)
        mi (marido|mujer|hijo|hija|hermana|hermano|trabajo|vecina|jefe|abuela|suegra|nieta|nieto)
    """,
    "third_person": r"""
        (ella|él|la niña|el niño|el bebé|mi (hijo|hija|madre|padre|mamá|papá|marido|mujer|esposo|esposa)) (no )?(ha|tiene|está|le|se|dice|come|toma|duerme|quiere)
        no (quiere|come|duerme)|(le|se) (dio|puso|salió|cayó|ha (dado|puesto))
    """,
    "since": r"""
        desde (hace|el|ayer|anoche|la|que|las|los)|hace (como |unos |unas )?(un|una|dos|tres|cuatro|cinco|\d+|días|meses|años)|ayer|anoche|esta mañana
        por (las|la) (noches?|mañanas?|tardes?)|la semana pasada|el (otro día|lunes|martes|miércoles|jueves|viernes|sábado|domingo|mes pasado)
        a veces|de vez en cuando|todo el (día|tiempo)|toda la noche|como (dos|tres|cuatro|un|una)
    """,
    "answers": r"""
        ^(sí|no|bueno|pues|más o menos|un poco|a veces|como|creo|nunca|nada|ninguna?|desde|regular|eh|ay|ya|la verdad|es que|mire|aquí)
        no sé|no (estoy )?segur\w|creo que (sí|no)|supongo|la verdad
    """,
    "seeks": r"""
        (puedo|debo|tengo que|podría|podré|necesito)|es (grave|malo|peligroso|normal|contagioso|cáncer|serio|para siempre)
        qué (hago|puedo|debo|tengo|me)|(me|voy a) (va a|van a|tendr\w+|tengo)|será|cree (usted )?que|y si|muchas gracias|gracias doctora?
        me (preocupa|da miedo|asusta)|de acuerdo doctora?|(está|vale) bien gracias|cuánto (tarda|cuesta|va a)
    """,
    "to_doctor": r"(doctora?|doc|dra?)( \?)?$|^(\w+ ){0,3}(doctora?|doc)|gracias (doctora?|doc)|(el|la|mi|otr[oa]) (médic[oa]|doctora?) (me|dijo)",
    "me": r"yo|me|mi|mis|tengo|estoy|conmigo|mí",
    "question_mark": r"\?",
    "elsewhere": r"""
        episodio|podcast|oyentes|patrocinador|suscríb\w+|(su|tu) (coche|carro|auto|perro|perrito|gato)|motor|frenos|factura
        número de pedido|reembolso|envío|pedido|deberes|salario|sueldo|hipoteca|(ve|vaya|ir|vas|fuiste|ido) al médico|veterinari\w+
        entrevista|currículum|receta de cocina|vuelos?|reserva|capítulo|examen de|profe
    """,
}

PORTUGUESE: Final[Cues] = {
    "body": r"""
        cabeça|pescoço|garganta|ouvidos?|orelhas?|olhos?|nariz|boca|língua|dentes?|gengivas?|mandíbula|cara|rosto|ombros?
        braços?|cotovelos?|pulsos?|punhos?|mãos?|dedos?|peito|coração|pulm(ão|ões)|mamas?|costas|coluna|estômago|barriga
        abdômen|abdómen|quadril|anca|virilha|bexiga|rim|rins|pernas?|coxas?|joelhos?|tornozelos?|pés?|pele|ferida
        cicatriz|manga|camisa|lado
    """,
    "symptom": r"""
        dor|dores|dói|doem|doendo|doía|enxaquecas?|febre|temperatura|tosse|tossir|tossindo|catarro|chiado|falta de ar
        tontura\w*|tont[oa]s?|desmai\w+|enjo\w+|náuseas?|vômitos?|vómitos?|vomit\w+|diarreia|prisão de ventre|sangramento
        sangue|sangra\w*|hematomas?|manchas?|coceira|comichão|coç\w+|inch\w+|inflama\w+|caroço|dormente\w*|dormência
        formigamento|formigueiro|fraqueza|cansaço|calafrios|arrepios|palpitaç\w+|azia|cãibras?|queimação|ard\w+|infecç\w+
        infeç\w+|infe[ct]+ad\w+|alergias?|alérgic\w+|convuls\w+|suor\w*|ansiedade|depressão|deprimid\w+|insônia|insónia|urin\w+|xixi
    """,
    "treatment": r"""
        comprimidos?|cápsulas?|medicamentos?|remédios?|medicação|doses?|miligramas?|receit\w+|antibióticos?|bombinha|bomba
        injeç\w+|insulina|corticoides?|pomada|creme|xarope|analgésicos?|paracetamol|dipirona|ibuprofeno|aspirina|\w+cilina
        \w+statina|\w+april|\w+sartana|\w+olol|\w+prazol|metformina|\w+micina|\w+dipino|raio x|radiografia|ecografia
        ultrassom|ressonância|eletrocardiograma|biópsia|exames?|análises|cirurgia|fisioterapia|pressão|tensão arterial
        colesterol|diabet\w+|asma|sintomas?|vacinas?|pontos|sonda|açúcar|glicose|glicemia|operação|especialista|anestesia
        cardiologista|quimio\w*|gravidez|antidepressivos?|gotas|consulta|soro|curativo|penso
    """,
    "opens": r"""
        o que (é que )?(o|a|lhe|te) (traz|trouxe|aconteceu|senhora?)|em que posso|como posso|pode entrar|entre|sente se|senta
        sou (o|a) (doutora?|dra?|médic\w|enfermeir\w)|me cont[ae]|conte me|diga me|qual (é )?o (motivo|problema)|data de nascimento
        como (é que )?(o senhor|a senhora|você|tem|está|vai|se sente|passou|anda)|faça favor|então (o que|diga|como)
        (seu|sua|os seus|seus) (consulta|prontuário|exames|resultados|processo)|fique à vontade
    """,
    "asks": r"""
        (já )?(teve|tem tido|notou|sentiu|perdeu|tomou|tem tomado|reparou|mediu|percebeu|experimentou|fez) (\w+ )?(algum\w*|febre|{symptom}|remédio|isso|mais|alergia)
        (tem|sente|toma|usa) (algum\w*|{symptom}|tomado|dormido|alergias?|dificuldade|filhos|mais|outr\w+|sentido|comido|histórico)
        (o senhor|a senhora|você) (tem|sente|toma|fuma|bebe|está|teve|já|consegue|dorme|usa|costuma|mora|percebeu|notou|vem|come)
        (fuma|bebe|dorme|ronca|vomitou|trabalha) (bem|álcool|mal|muito|quantos|ou|\?)|é alérgic\w|(está|anda) (a )?(tomar|tomando|comendo|dormindo|dormir|comer|grávida)
        (desde quando|há quanto tempo|faz quanto|quando (foi|começou|é que|isso|apareceu)|quanto tempo|quant[ao]s|com que frequência|de quanto em quanto)
        (zero|um|0|1) a (dez|10)|onde (dói|é|exatamente|lhe|sente)|dói (lhe|aqui|onde|quando|mais|muito|ou)|alguma? (alergia|doença|outr\w|cirurgia|dor|febre|coisa)
        (piora|melhora|irradia|costuma) (quando|com|à|de|para|ou|\?)|algum (remédio|sintoma|medicamento|problema|antecedente)|antecedentes|mais alguma
        que (tipo|cor|medicamentos|remédios|horas)|qual (é )?(a|o) (dose|cor|dor|medicamento|remédio|idade|intensidade)|e (a|o|as|os) \w+ \?
    """,
    "examines": r"""
        (abra|abre|levante|respire|respira|deite|deita|tire|mostre|feche|dobre|vire|aperte|empurre|estique|puxe|suba|segure|relaxe|tussa|encoste|arregace)
        (deixe|deixa)( me)? (eu )?(ver|dar|examinar|ouvir|olhar)|(vou|vamos) (lhe |te |o |a )?(examinar|auscultar|ouvir|escutar|medir|palpar|apertar|ver|observar|dar uma olhada)
        respire fundo|inspire|expire|não se mexa|olhe (para|aqui)|dói (aqui|quando (aperto|carrego|eu aperto|toco))|uma picad\w+|de pé|língua para fora
        (esse|essa|este|esta) ({body})|dar uma (olhada|vista)
    """,
    "plans": r"""
        (vou|vamos) (lhe |te )?(pedir|receitar|passar|prescrever|fazer|dar|mudar|trocar|aumentar|diminuir|encaminhar|começar|marcar|manter|colocar|solicitar|deixar|referenciar)
        vamos|(tem|precisa) (que|de)|(deve|deveria|convém)|(tome|use|aplique|beba|evite|descanse|faça|passe|continue|pare|volte|venha|ligue|procure|vá|mantenha|marque|coma|ponha)
        quero que|gostaria (que|de (ver|pedir|fazer))|(recomendo|sugiro|aconselho)|se (não melhorar|piorar|tiver|sentir|continuar|notar|aparecer|houver|a dor|a febre|doer)
        não (pare|tome|deixe|esqueça|se preocupe|faça|precisa|coma|levante)|(vejo|vemos) (o|a|nos|você)|podemos|é importante|(durante|por) (\w+ dias|uma semana)
        (volta|retorno|regressa|vejo) (em|daqui|dentro)|o ideal
    """,
    "finds": r"""
        (seu|sua|a sua|o seu) ({body}|pressão|tensão|açúcar|colesterol|exame|raio x|glicemia) (está|é|ficou|deu|parece)|(seus|suas) \w+ (estão|são|deram|vieram)
        (está|parece) (normal|um pouco (alt\w|baix\w|inflamad\w|vermelh\w)|limp\w|bem melhor|tudo bem)|(os resultados|o exame|a análise|as análises|os exames|o raio x|a ecografia)
        boas notícias|não é (nada )?grave|(é|parece|deve ser|pode ser|provavelmente é) (um|uma) \w+|(vejo|ouço|noto|estou vendo|estou a ver) (que|um|uma|aqui|algo)
        isso é (normal|bom|comum)|o que (tem|você tem|o senhor tem|a senhora tem) é|lamento|sinto muito|tem (a|o) ({body}|pressão|tensão|colesterol)
    """,
    "doses": r"""
        miligramas|mg|(uma|duas|três|quatro) vezes (ao|por) dia|de (seis|oito|doze|\d+) em (seis|oito|doze|\d+)( horas)?|(antes|depois) (de|das|do|da) (comer|refeições|café|jantar|deitar|dormir)
        em jejum|um (por|ao) dia|de manhã e|receit\w+|efeitos (colaterais|secundários)|tratamento|a cada \w+ horas
    """,
    "you": r"o senhor|a senhora|você|seu|sua|seus|suas|lhe|te|teu|tua|dona|seu \w+",
    "suffers": r"""
        (me dói|dói me|doem me|me doem|sinto|senti|tô com|estou com|ando com|fico|fiquei|acordo|acordei|durmo|não durmo|tô|estou)
        (tenho|tive|tenho tido|tinha) (um |uma |muita |muito |umas |uns |tido |sentido |a |o )*({symptom}|{body}|medo|dificuldade|sentido)
        não (consigo|aguento|durmo|conseguia|tenho|posso|tomo)|(caí|cortei|torci|queimei|bati|machuquei|magoei)|me (caí|cortei|machuquei|dá|deu|sinto|preocupa)
        (tomo|tomei|fumo|parei|deixei|comecei|vomitei|esqueço|reparei|notei|usei|experimentei|faço|fumava)|é (como se|uma dor|tipo|mais|só|assim)
        (dá|deu|faz) me|parece que|achei que|acho que|começou|está (a doer|doendo|pior|inchad\w)|custa me|quando (eu|me|subo|ando|como|respiro|deito)
    """,
    "mine": r"""
        (meu|minha|meus|minhas) ({body}|dor|tosse|remédios?|comprimidos|pressão|tensão|açúcar|menstruação)|(meu|minha) (mãe|pai|marido|mulher|esposa|filho|filha)
        (meu|minha) (irmã|irmão|trabalho|vizinha|chefe|avó|sogra|neta|neto|esposo)
    """,
    "third_person": r"""
        (ela|ele|a menina|o menino|o bebê|o bebé|(o |a )?(meu|minha) (filho|filha|mãe|pai|marido|mulher|esposa)) (não |só )?(teve|tem|está|tá|come|toma|dorme|quer|diz|anda|ficou|começou|vomitou)
        não (quer|come|dorme|mama)
    """,
    "since": r"""
        desde (que|o|a|ontem|segunda|terça|quarta|quinta|sexta|sábado|domingo|as)|(há|faz) (uns |umas |mais de |cerca de )?(um|uma|dois|duas|três|quatro|cinco|\d+|dias|meses|anos)|ontem|hoje de manhã|esta (noite|manhã)
        (à|de) noite|de manhã|(semana|mês|ano) (passad[ao])|(às|as) vezes|de vez em quando|o (dia|tempo) (todo|inteiro)|noite (toda|inteira)|atrás
    """,
    "answers": r"""
        ^(sim|não|é|bom|bem|mais ou menos|um pouco|às vezes|acho|nunca|nada|nenhuma?|desde|tenho|olhe|olha|ai|ah|uns|umas|só|já|tá|pois|aqui)
        não sei|acho que (sim|não)|sei lá|para aí|talvez
    """,
    "seeks": r"""
        (posso|devo|tenho (de|que)|preciso|poderia)|é (grave|perigoso|normal|contagioso|câncer|cancro|sério|para sempre)|será que|(o que|que) (eu )?(faço|posso|devo|tenho)
        (vou|vai) (ter|ficar|precisar|doer|passar|morrer)|muito obrigad\w|obrigad\w (doutora?|dra?)|tenho medo|e se|estou preocupad\w|quanto (custa|tempo vai)|acha que
    """,
    "to_doctor": r"(doutora?|dra?)( \?)?$|^(\w+ ){0,3}(doutora?)|obrigad\w (doutora?)|(o|a|meu|outr[oa]) (médic[oa]|doutora?) (me|disse|falou|mandou)",
    "me": r"eu|me|meu|minha|meus|minhas|mim|comigo|tenho|estou|tô",
    "question_mark": r"\?",
    "elsewhere": r"""
        episódio|podcast|ouvintes|patrocinador|inscrev\w+|(seu|teu) (carro|cachorro|cão|gato)|motor|freios|travões|fatura|boleto
        número do pedido|reembolso|entrega|encomenda|lição de casa|salário|ir ao médico|veterinári\w+|entrevista|currículo|voos?|reserva
        vai ao médico|foi ao médico|prova de|professora?|capítulo|cara
    """,
}

FRENCH: Final[Cues] = {
    "body": r"""
        tête|cou|gorge|oreilles?|yeux|œil|oeil|nez|bouche|langue|dents?|gencives?|mâchoire|visage|épaules?|bras|coudes?
        poignets?|mains?|doigts?|pouces?|poitrine|cœur|coeur|poumons?|seins?|dos|colonne|estomac|ventre|abdomen|hanches?
        aine|vessie|reins?|jambes?|cuisses?|genoux?|mollets?|chevilles?|pieds?|orteils?|peau|plaie|cicatrice|manche
    """,
    "symptom": r"""
        mal|douleurs?|douloureu\w+|fait mal|migraines?|fièvre|température|toux|tousse\w*|tousser|glaires|crachats|sifflements?
        essoufflé\w*|essoufflement|souffle|vertiges?|tête qui tourne|malaises?|évanou\w+|nausées?|vomi\w*|diarrhée|constip\w+
        saigne\w*|sang|bleus|boutons|rougeurs?|démange\w*|gonfl\w+|enflé\w*|boules?|engourdi\w+|fourmi\w+|faiblesse|fatigué?e?
        frissons|palpitations|brûlures?|crampes?|raideurs?|raide|pique|brûle|infections?|infecté\w*|allergi\w+|sueurs
        angoisses?|anxiété|dépress\w+|déprim\w+|insomnies?|urin\w+|selles|pipi|moral
    """,
    "treatment": r"""
        comprimés?|cachets?|gélules?|médicaments?|traitements?|doses?|milligrammes?|ordonnance|prescri\w+|antibiotiques?
        inhalateur|ventoline|piqûres?|injections?|insuline|cortisone|pommade|crème|sirop|antidouleurs?|paracétamol|doliprane
        ibuprofène|aspirine|\w+cilline|\w+statine|\w+pril|\w+sartan|\w+olol|\w+prazole|metformine|\w+mycine|\w+dipine
        radio|radiographie|échographie|écho|irm|scanner|électrocardiogramme|ecg|biopsie|prise de sang|analyses?|bilan
        opération|chirurgi\w+|kiné\w*|tension|cholestérol|diabèt\w+|diabétique|asthme|symptômes?|vaccins?|points de suture
        sonde|sucre|glycémie|spécialiste|cardiologue|anesthésie|chimio\w*|grossesse|antidépresseurs?|gouttes|pansement
    """,
    "opens": r"""
        qu'est ce qui vous (amène|arrive)|que puis je|qu'est ce que je peux|entrez|asseyez vous|installez vous|assieds toi
        je suis (le|la) (docteure?|dr|médecin|infirmi\w+)|docteur \w+ à l'appareil|dites moi|racontez moi|je vous écoute|date de naissance
        comment (allez vous|vous sentez|ça va depuis|vas tu|vous allez)|qu'est ce qui (se passe|ne va pas|t'arrive)|votre (dossier|rendez vous|carte vitale)
        vos (résultats|analyses)|quel bon vent|c'est pour quoi|qu'est ce qu'on peut
    """,
    "asks": r"""
        (avez vous|vous avez|est ce que vous avez|as tu|t'as|vous aviez) (\w+ )?(de la|des|du|eu|pris|remarqué|mal|déjà|une|un|d'autres?|perdu|noté|essayé|pensé|bien|toujours|encore|vomi)
        (prenez vous|vous prenez|fumez vous|vous fumez|buvez vous|vous buvez|dormez vous|vous dormez|êtes vous|vous êtes|vous mangez|vous arrivez|vous toussez|vous faites|sentez vous|vous sentez)
        depuis (quand|combien)|quand (est ce que|avez|a|ça)|combien|à quelle (fréquence|heure)|sur une échelle|(zéro|un|0|1) à (dix|10)|sur dix|où (avez|est ce|exactement|ça)
        (ça|cela|la douleur) (vous|te|irradie|descend|réveille)|ça vous (fait|gêne|réveille|arrive|prend)|est ce que (ça|c'est|la|le|il y a|vous|tu)|y a t il
        (des|une|un) (allergies?|antécédents?|fièvre|autres? (symptômes?|problèmes?))|antécédents|quel (genre|type|traitement|médicament)|quelle (dose|couleur)
        (pas|plus) de (fièvre|vomissements|douleurs?|sang|nausées|vertiges|diarrhée|perte|toux|{symptom})|autre chose|qu'est ce que vous (prenez|avez|faites|ressentez|mangez)|et (la|le|les|l') ?\w+ \?
    """,
    "examines": r"""
        (ouvrez|levez|respirez|allongez|tournez|pliez|tendez|serrez|poussez|fermez|enlevez|montrez|tirez|toussez|regardez|détendez|relâchez|suivez|retirez|posez|remontez|penchez)( \w+)?
        je vais (vous |t' ?|te |l' ?)?(examiner|ausculter|écouter|prendre|regarder|palper|appuyer|toucher|piquer|vérifier)|inspirez|expirez|soufflez|bloquez|respirez (fort|bien|à fond)
        (ça|cela) fait mal (là|ici|quand j'appuie)|quand j'appuie|je regarde|laissez moi|faites voir|on va (regarder|écouter|examiner)|ouvre (grand|la)|tire la langue|dites aaah?|ne bougez (pas|plus)|debout
    """,
    "plans": r"""
        je vais (vous |te )?(prescrire|donner|faire|demander|mettre|envoyer|adresser|arrêter|augmenter|diminuer|noter|changer|appeler|revoir)|je vous (prescris|donne|mets|fais|conseille|propose|recommande|revois|envoie|adresse|laisse|arrête)
        on va|(il faut|il faudra|faudrait|il vaut mieux)|vous (devez|devriez|pouvez|allez|prendrez|reprendrez|reviendrez|pourrez)|(prenez|évitez|mangez|buvez|reposez|mettez|arrêtez|continuez|revenez|rappelez|appelez|appliquez|gardez|faites|n'hésitez|essayez|commencez|consultez|venez|allez)
        si (ça|cela|vous|la|le|les|jamais) (ne )?(s'aggrave|persiste|passe|va|avez|douleur|fièvre|continue|remarquez|sentez|recommence|empire)|ne (prenez|vous inquiétez|forcez|arrêtez|conduisez|faites)|j'aimerais (que|vous|faire|voir|contrôler)
        je (voudrais|préfère|propose|souhaite) (que|qu'on|vous|faire|voir|contrôler)|on (se revoit|se voit|fait|refait|commence|arrête|garde|contrôle|peut|passe)|pendant (une semaine|\w+ jours)|d'ici là
    """,
    "finds": r"""
        (votre|la|ton) ({body}|tension|glycémie|cholestérol|radio|prise de sang|analyse|échographie) (est|sont|montre|a|va)|vos \w+ (sont|montrent)|(c'est|ce n'est pas|ça ressemble à|il s'agit|c'est sûrement|c'est probablement) (une|un|d'une|d'un|rien de) \w+
        (c'est|tout est|ça a l'air) (normal|propre|bien|bon|rassurant|fréquent|courant)|les (résultats|analyses|examens)|bonnes? nouvelles?|rien de grave|je (vois|sens|entends) (un|une|bien|que|pas|quelque)|un peu (élevée?|haute?|basse?|rouge|inflammé\w*|enflammé\w*)
        vous avez (une|un|la|le|les) ({body}|{symptom}|tension|petite?|infection|inflammation)|je suis désolée? (de|pour|d')|rassur\w+|ne vous inquiétez
    """,
    "doses": r"""
        milligrammes|mg|(une|deux|trois|quatre) fois par (jour|semaine)|toutes les (quatre|six|huit|douze|\d+) heures|(avant|après|pendant) (les|le|chaque) (repas|dîner|coucher|petit déjeuner)|au coucher
        à jeun|un (par jour|matin)|matin (et|midi)|ordonnance|prescri\w+|effets? secondaires?|matin midi et soir
    """,
    "you": r"vous|votre|vos|toi|tu|ton|ta|tes|te|madame|monsieur",
    "suffers": r"""
        j'ai (\w+ )?(mal|eu|la|des|de la|du|une|un|très|trop|vomi|pris|remarqué|arrêté|essayé|toujours|peur|perdu|commencé|dormi|senti|froid|chaud|oublié)|je (me sens|dors|tousse|vomis|suis (fatiguée?|tombée?|inquiète?|essoufflée?|crevée?|allergique|épuisée?)|n'arrive|ne (dors|peux|mange|sens|supporte)|prends|fume|bois|sens|me (lève|réveille|suis|gratte))
        ça (me|m'|fait|brûle|gratte|pique|lance|tire|a commencé|commence|revient|s'est|part|dure|va|serre|cogne|empire)|je (peux|pouvais) (pas|plus)|j'arrive (pas|plus)|j'(avais|étais|arrive|oublie|en peux plus)|me fait mal|c'est (comme|surtout|plutôt|pire|là|dur)|je me (suis|sens)
        j' ?(pense|croyais|crois)|je (croyais|pensais|crois|pense)|m'(inquiète|empêche|a réveillée?)
    """,
    "mine": r"""
        (mon|ma|mes) ({body}|douleurs?|toux|médicaments?|cachets|comprimés|tension|sucre|règles|traitement)|(mon|ma) (mère|père|mari|femme|fils|fille|sœur|soeur|frère|travail|boulot|voisine|patron|copain|compagnon|copine|maman|papa)
    """,
    "third_person": r"""
        (elle|il|la petite|le petit|mon (fils|mari|père)|ma (fille|femme|mère)) (ne |n'|n')?(a|est|fait|dit|tousse|vomit|mange|dort|prend|veut|pleure|refuse|se|s'est)
    """,
    "since": r"""
        depuis (?!quand|combien|le début de)|il y a (\w+ )?(une|un|deux|trois|quatre|cinq|\d+|quelques|jours|mois|ans)|ça fait (\w+ )?(une|un|deux|trois|quatre|cinq|\d+|quelques|longtemps)|hier|cette nuit|ce matin
        la (nuit|semaine dernière)|le (matin|soir)|(parfois|des fois|de temps en temps|tout le temps|toute la (nuit|journée))|quelques jours
    """,
    "answers": r"""
        ^(oui|non|ouais|si|bah|ben|un peu|pas (vraiment|trop|du tout|mal|de)|parfois|peut être|environ|jamais|rien|aucune?|depuis|euh|bof|plutôt|à peu près|c'est|je|j'ai|ah|oh|voilà|ça)
        je (ne )?sais pas|je (crois|pense) (pas|que (oui|non))|peut être
    """,
    "seeks": r"""
        (est ce que je|je) (peux|dois|vais|pourrai|devrais|risque)|puis je|(c'est|est ce que c'est|est ce) (grave|dangereux|normal|contagieux|un cancer|sérieux|embêtant)|qu'est ce que (je|j'ai)|il faut que je|(ça|cela) va (passer|durer|faire)
        merci (beaucoup|docteur)|d'accord (merci|docteur)|j'ai peur|vous (croyez|pensez) que|et si (je|c'est|ça)|ça m'inquiète|combien (de temps ça|ça va)
    """,
    "to_doctor": r"(docteure?|dr)( \?)?$|^(\w+ ){0,3}docteure?|(merci|d'accord|oui|non) docteure?|(le|la|mon|l'autre) (médecin|docteur|généraliste) (m'|m'a|a dit|me)",
    "me": r"je|j'ai|me|moi|mon|ma|mes|j'avais|m'a",
    "question_mark": r"\?",
    "elsewhere": r"""
        épisode|podcast|auditeurs|sponsor|abonn\w+|(votre|ta|ton) (voiture|chien|chat)|moteur|freins|facture|numéro de commande
        remboursement|livraison|colis|devoirs|salaire|aller (voir un|chez le) (médecin|docteur)|voir un médecin|vétérinaire|entretien|cv|vols?|réservation|émission
    """,
}

BY_LANGUAGE: Final[dict[str, Cues]] = {"en": ENGLISH, "es": SPANISH, "pt": PORTUGUESE, "fr": FRENCH}
