"""What the synthetic voices say: made here, from these word lists alone, the same for the same generator state.

Nothing is read from the machine. The sentences mean little; what matters is that they cover the sounds of each
language, its usual short words, numbers, spelled letters, and invented words for the rare neighbours of sounds.
"""

from __future__ import annotations

from typing import Final

import numpy as np

_EN = """the and that have with this from they would there their what about which when make like time just him know
take people into year your good some could them other than then now look only come over think also back after use two
how our work first well way even new want because any these give day most us morning evening window water coffee paper
number letter market mother father brother family people women picture moment problem summer simple happy maybe
company important government number probably something remember possible before between above below improve people
month mouth south north thumb move prove love above five seven value very every voice visit favour coffee office offer
before perhaps apple pepper bubble rubber table able public problem blue blow black bring brown bread breathe break
please place play plan plane plain spring spread speak spot space shape ship sheep shoulder should shoe show share
short should fish finish wish wash watch which church change choose cheap cheese chair jump judge just job joy yellow
young year use usual measure pleasure treasure wide window winter wonder word world work worry away always question
quick quite quiet queen twelve twenty between swim sweet small smile smoke smooth snow strong street stream strange
three through throw thank thing think both bath month health heavy hello house home hope human large garden green
great grow group gold good goat book look cook foot food moon school room soon too who you few music beautiful boy
toy noise point enjoy outside around about down town now how power flower hour our fire higher quiet idea area real
clear dear near here year care chair where there wear bear more door four floor poor sure tour cure"""
_NUMBERS = "zero one two three four five six seven eight nine ten eleven twelve thirty forty fifty hundred"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

_TEXTS: Final[dict[str, str]] = {
    "en": _EN,
    "de": """und der die das ist nicht auch mit dem eine wir haben sie werden aber noch wie vor über immer morgen abend
wasser brot butter mutter vater bruder schwester familie freund arbeit problem sommer winter einfach möglich vielleicht
bevor zwischen verbessern fünf sieben zwölf zwanzig schön böse grün früh blau braun baum haus maus pfeffer apfel topf
kopf pfund schule schuh fisch tisch frisch sprechen spielen platz blume bringen bleiben machen brauchen woche buch
zug fliegen wohnung fenster wunder welt wort weg zeit zeigen ziehen jung jahr jemand mehr meer leben liebe""",
    "fr": """le la les une des est pas que pour dans avec sur vous nous mais bien plus fait tout comme être avoir matin
soir eau pain beurre mère père frère famille ami travail problème été hiver simple possible peut-être avant entre
améliorer cinq sept douze vingt beau bleu brun arbre maison poivre pomme pot chapeau école chaussure poisson fraîche
parler jouer place fleur apporter rester faire besoin semaine livre train fenêtre monde mot chemin temps montrer
jeune année quelqu'un vivre amour bonjour merci beaucoup aujourd'hui lumière musique femme homme vin vent""",
    "es": """el la los una de que no en por con para como más pero muy bien todo hacer estar mañana tarde agua pan
mantequilla madre padre hermano familia amigo trabajo problema verano invierno simple posible quizás antes entre
mejorar cinco siete doce veinte hermoso azul marrón árbol casa pimienta manzana sombrero escuela zapato pez hablar
jugar lugar flor traer quedar necesitar semana libro tren ventana mundo palabra camino tiempo mostrar joven año
alguien vivir amor hola gracias mucho hoy luz música mujer hombre vino viento bueno perro llave lluvia""",
    "it": """il la gli una di che non in per con come più ma molto bene tutto fare essere mattina sera acqua pane burro
madre padre fratello famiglia amico lavoro problema estate inverno semplice possibile forse prima tra migliorare
cinque sette dodici venti bello azzurro marrone albero casa pepe mela cappello scuola scarpa pesce parlare giocare
posto fiore portare rimanere bisogno settimana libro treno finestra mondo parola strada tempo mostrare giovane anno
qualcuno vivere amore ciao grazie oggi luce musica donna uomo vino vento buono chiave pioggia gnocchi""",
    "pt": """o a os uma de que não em por com para como mais mas muito bem tudo fazer estar manhã tarde água pão
manteiga mãe pai irmão família amigo trabalho problema verão inverno simples possível talvez antes entre melhorar
cinco sete doze vinte bonito azul marrom árvore casa pimenta maçã chapéu escola sapato peixe falar jogar lugar flor
trazer ficar precisar semana livro trem janela mundo palavra caminho tempo mostrar jovem ano alguém viver amor""",
    "nl": """de het een van dat niet op met voor ook maar wel nog over altijd morgen avond water brood boter moeder
vader broer familie vriend werk probleem zomer winter eenvoudig mogelijk misschien voordat tussen verbeteren vijf
zeven twaalf twintig mooi blauw bruin boom huis peper appel pot school schoen vis tafel spreken spelen plaats bloem
brengen blijven maken week boek trein venster wonder wereld woord weg tijd laten jong jaar iemand leven liefde""",
    "sv": """och det att en som på är av för med den till inte om men hur alltid morgon kväll vatten bröd smör mor far
bror familj vän arbete problem sommar vinter enkel möjlig kanske före mellan förbättra fem sju tolv tjugo vacker blå
brun träd hus peppar äpple skola sko fisk bord tala spela plats blomma bära stanna göra vecka bok tåg fönster värld
ord väg tid visa ung år någon leva kärlek hem mycket ljus musik kvinna man vin vind god nyckel regn""",
    "pl": """i w na nie to jest się z do że jak ale bardzo dobrze wszystko robić być rano wieczór woda chleb masło
matka ojciec brat rodzina przyjaciel praca problem lato zima prosty możliwy może przed między poprawić pięć siedem
dwanaście piękny niebieski brązowy drzewo dom pieprz jabłko kapelusz szkoła but ryba mówić grać miejsce kwiat
przynieść zostać tydzień książka pociąg okno świat słowo droga czas pokazać młody rok ktoś żyć miłość""",
    "cs": """a v na ne to je se s do že jak ale velmi dobře všechno dělat být ráno večer voda chléb máslo matka otec
bratr rodina přítel práce problém léto zima prostý možný možná před mezi zlepšit pět sedm dvanáct krásný modrý hnědý
strom dům pepř jablko klobouk škola bota ryba mluvit hrát místo květ přinést zůstat týden kniha vlak okno svět slovo
cesta čas ukázat mladý rok někdo žít láska řeka tři""",
    "fi": """ja on ei se että hän mutta kun niin myös aina aamu ilta vesi leipä voi äiti isä veli perhe ystävä työ
ongelma kesä talvi helppo mahdollinen ehkä ennen välissä parantaa viisi seitsemän kaunis sininen ruskea puu talo
pippuri omena hattu koulu kenkä kala puhua pelata paikka kukka tuoda jäädä viikko kirja juna ikkuna maailma sana
tie aika näyttää nuori vuosi joku elää rakkaus hyvää päivää kiitos""",
    "tr": """ve bir bu da ne için ile çok ama daha iyi her şey yapmak olmak sabah akşam su ekmek tereyağı anne baba
kardeş aile arkadaş iş sorun yaz kış basit mümkün belki önce arasında beş yedi güzel mavi ağaç ev biber elma şapka
okul ayakkabı balık konuşmak oynamak yer çiçek getirmek kalmak hafta kitap tren pencere dünya kelime yol zaman
göstermek genç yıl biri yaşamak sevgi merhaba teşekkür""",
    "id": """dan yang di ini itu dengan untuk tidak dari akan bisa sudah sangat baik semua membuat menjadi pagi malam
air roti mentega ibu bapak saudara keluarga teman kerja masalah musim mudah mungkin sebelum antara lima tujuh indah
biru pohon rumah merica apel topi sekolah sepatu ikan bicara main tempat bunga membawa tinggal minggu buku kereta
jendela dunia kata jalan waktu muda tahun hidup cinta selamat terima kasih""",
    "hu": """és a az egy nem hogy is van meg mint de nagyon jó minden csinálni lenni reggel este víz kenyér vaj anya apa
testvér család barát munka probléma nyár tél egyszerű lehetséges talán előtt között javítani öt hét szép kék barna fa
ház bors alma kalap iskola cipő hal beszélni játszani hely virág hozni maradni könyv vonat ablak világ szó út idő
mutatni fiatal év valaki élni szerelem köszönöm""",
    "ro": """și un o de la cu nu pe mai că este foarte bine tot face fi dimineață seară apă pâine unt mamă tată frate
familie prieten muncă problemă vară iarnă simplu posibil poate înainte între cinci șapte frumos albastru maro copac
casă piper măr pălărie școală pantof pește vorbi juca loc floare aduce rămâne săptămână carte tren fereastră lume
cuvânt drum timp arăta tânăr an cineva trăi iubire mulțumesc""",
}
WORDS: Final[dict[str, list[str]]] = {language: text.split() for language, text in _TEXTS.items()}
"""Language code (the first part of an espeak-ng voice) -> its words."""

_ONSETS = ["p", "b", "m", "f", "v", "t", "d", "n", "s", "z", "l", "r", "k", "g", "h", "sh", "w", "pl", "br", "fr", "st"]
_ONSETS += ["sp", "sm", "bl", "tr", "ch"]
_CORES = ["a", "e", "i", "o", "u", "ai", "ou", "oo", "ee", "a", "o", "i"]
_CODAS = ["", "", "", "m", "p", "b", "n", "t", "s", "f", "l", "k"]


def invented_word(random: np.random.Generator) -> str:
    """Two or three syllables that no language owns."""
    syllables = [
        str(random.choice(_ONSETS)) + str(random.choice(_CORES)) + str(random.choice(_CODAS))
        for _ in range(int(random.integers(1, 4)))
    ]
    return "".join(syllables)


def sentence(language: str, random: np.random.Generator) -> str:
    """One sentence of 3 to 12 words for a voice like 'pt-br'; unknown languages are given invented words."""
    words = WORDS.get(language.split("-")[0].split("+")[0], [])
    said: list[str] = []
    for _ in range(int(random.integers(3, 13))):
        kind = random.random()
        if not words or kind < 0.12:
            said.append(invented_word(random))
        elif words is WORDS["en"] and kind < 0.20:
            said.append(str(random.choice(_NUMBERS.split())))
        elif words is WORDS["en"] and kind < 0.26:
            said.append(str(random.choice(list(_LETTERS))))
        else:
            said.append(words[int(random.integers(len(words)))])
    for at in range(1, len(said) - 1):
        if random.random() < 0.07:
            said[at] += ","
    return " ".join(said).capitalize() + str(random.choice([".", ".", ".", "?", "!"]))
