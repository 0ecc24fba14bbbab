"""Tables of what is written short: what each is called when a person reads it aloud."""

from __future__ import annotations


def _table(text: str) -> dict[str, str]:
    """`short=spoken, …`; an underscore stands for a space."""
    pairs = (entry.strip().split("=") for entry in text.replace("\n", ",").split(",") if entry.strip())
    return {short: said.replace("_", " ") for short, said in pairs}


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


LETTERS = _table("""
a=eh, b=bee, c=see, d=dee, e=ee, f=eff, g=jee, h=aitch, i=eye, j=jay, k=kay, l=el, m=em, n=en, o=oh, p=pee, q=queue
r=ar, s=ess, t=tee, u=you, v=vee, w=double_you, x=ex, y=why, z=zee
""")
"""Names of the letters, as words that any reader of English says alike."""

TITLES = _table("""
dr=Doctor, mr=Mister, mrs=Missus, ms=Miz, prof=Professor, sen=Senator, gov=Governor, gen=General, capt=Captain
sgt=Sergeant, lt=Lieutenant, col=Colonel, rev=Reverend, rep=Representative, pres=President, mt=Mount, ft=Fort
maj=Major, cmdr=Commander, adm=Admiral, hon=Honorable, supt=Superintendent, cpl=Corporal, pvt=Private, msgr=Monsignor
messrs=Messieurs
""")
"""Stand before a name: their full stop never ends a sentence."""

ABBREVIATIONS = _table("""
vs=versus, approx=approximately, dept=department, est=established, max=maximum, min=minimum, temp=temperature
misc=miscellaneous, govt=government, assn=association, ca=circa, cf=compare, incl=including, excl=excluding
""")
"""Written with a full stop that never ends a sentence."""

LAST_WORDS = _table("""
etc=et_cetera, inc=Incorporated, ltd=Limited, corp=Corporation, co=Company, ave=Avenue, blvd=Boulevard, rd=Road
jr=Junior, sr=Senior, tbsp=tablespoons, tsp=teaspoons, ln=Lane, hwy=Highway, pkwy=Parkway
bldg=building, esq=Esquire, bros=Brothers, univ=University, intl=International, ext=extension, tel=telephone
""")
"""Written with a full stop that may end a sentence, too."""

NUMBERED_ABBREVIATIONS = _table("""
nos=numbers, fig=figure, figs=figures, vol=volume, vols=volumes, p=page, pp=pages, ch=chapter, sec=section
art=article, eq=equation, ver=version, rev=revision, para=paragraph
ste=Suite, apt=apartment, c=circa, rm=room, ex=exercise
""")
"""Written with a full stop before a number."""

DAYS = _table("""
mon=Monday, tue=Tuesday, tues=Tuesday, wed=Wednesday, weds=Wednesday, thu=Thursday, thur=Thursday, thurs=Thursday
fri=Friday, sat=Saturday, sun=Sunday
""")

DOTTED = {
    "e.g": "for example", "i.e": "that is", "ph.d": "pee aitch dee", "b.sc": "bee ess see", "m.sc": "em ess see",
    "a.k.a": "also known as",
}  # fmt: skip

MONTHS = _table("""
jan=January, feb=February, mar=March, apr=April, may=May, jun=June, jul=July, aug=August, sep=September
sept=September, oct=October, nov=November, dec=December
""")
MONTH_NAMES = tuple(dict.fromkeys(MONTHS.values()))

UNITS = _table("""
m=meter, km=kilometer, cm=centimeter, mm=millimeter, µm=micrometer, nm=nanometer, dm=decimeter, ft=foot, in=inch
yd=yard, mi=mile, d=day, ly=light_year, g=gram, kg=kilogram, mg=milligram, µg=microgram, mcg=microgram, lb=pound
lbs=pound, oz=ounce
l=liter, L=liter, dl=deciliter, dL=deciliter, cl=centiliter, ml=milliliter, mL=milliliter, µL=microliter
pt=pint, gal=gallon, qt=quart, tbsp=tablespoon, tsp=teaspoon, ha=hectare, s=second, sec=second, secs=second
ms=millisecond, µs=microsecond, ns=nanosecond, h=hour, hr=hour, hrs=hour, min=minute, mins=minute, wk=week, wks=week
mo=month, mos=month, yr=year, yrs=year, mph=mile_per_hour, kph=kilometer_per_hour, kmh=kilometer_per_hour
fps=frame_per_second, rpm=revolution_per_minute, bpm=beat_per_minute, Hz=hertz, kHz=kilohertz, MHz=megahertz
GHz=gigahertz, THz=terahertz, B=byte, kB=kilobyte, KB=kilobyte, MB=megabyte, GB=gigabyte, TB=terabyte, PB=petabyte
KiB=kibibyte, MiB=mebibyte, GiB=gibibyte, TiB=tebibyte, kb=kilobyte, mb=megabyte, gb=gigabyte, tb=terabyte
kbit=kilobit, Mbit=megabit, Gbit=gigabit, Kb=kilobit, Mb=megabit, Gb=gigabit, bps=bit_per_second
kbps=kilobit_per_second, Kbps=kilobit_per_second, Mbps=megabit_per_second, Gbps=gigabit_per_second
mbps=megabit_per_second, gbps=gigabit_per_second, W=watt, w=watt, mW=milliwatt, kW=kilowatt, MW=megawatt, GW=gigawatt
TW=terawatt, Wh=watt_hour, kWh=kilowatt_hour, MWh=megawatt_hour, GWh=gigawatt_hour, TWh=terawatt_hour, V=volt, v=volt
mV=millivolt, kV=kilovolt, A=ampere, mA=milliampere, mAh=milliampere_hour, Ah=ampere_hour, Ω=ohm, kΩ=kiloohm
MΩ=megaohm, F=farad, µF=microfarad, nF=nanofarad, pF=picofarad, J=joule, kJ=kilojoule, MJ=megajoule, cal=calorie
kcal=kilocalorie, N=newton, kN=kilonewton, Nm=newton_meter, Pa=pascal, hPa=hectopascal, kPa=kilopascal
MPa=megapascal, bar=bar, mbar=millibar, atm=atmosphere, psi=pound_per_square_inch, K=kelvin, mol=mole, mmol=millimole
dB=decibel, dpi=dot_per_inch, ppm=part_per_million, ppb=part_per_billion, px=pixel, hp=horsepower, eV=electronvolt
keV=kiloelectronvolt, MeV=megaelectronvolt, GeV=gigaelectronvolt, lm=lumen, lx=lux, Bq=becquerel, Sv=sievert
mSv=millisievert, MP=megapixel, °C=degree_Celsius, °F=degree_Fahrenheit, ºC=degree_Celsius, ºF=degree_Fahrenheit
°=degree, º=degree, °K=degree_Kelvin
""")
"""After a number, of one, as they are written: capitals count."""

_FOLDED = _words("""
km cm mm kg mg lb lbs oz ft yd ml gal qt tbsp tsp mph kph kmh rpm bpm hr hrs min mins sec secs kw kwh hz khz mhz ghz
thz kcal kj dpi ppm psi db °c °f wk wks yr yrs fps kpa hpa
""")

FOLDED_UNITS = {name.lower(): said for name, said in UNITS.items() if name.lower() in _FOLDED}
"""Units that mean the same in whatever capitals."""

DOTTED_UNITS = _words(
    "in ft yd mi lb lbs oz pt qt gal tbsp tsp hr hrs h min mins sec secs wk wks mo mos yr yrs cm mm km "
    "m kg g mg l ml kcal cal mph"
)
"""Units that are written with a full stop, too."""

AFTER_DECIMALS = _words("A N K J F B w")
"""Units that are read as letters unless they are joined to a decimal number or a large one: "5A", "Section 5 A"."""

PLURALS = {
    "foot": "feet", "inch": "inches", "hertz": "hertz", "kilohertz": "kilohertz", "megahertz": "megahertz",
    "gigahertz": "gigahertz", "terahertz": "terahertz", "lux": "lux", "horsepower": "horsepower",
}  # fmt: skip

ACRONYMS = _words("""
AIDS AJAX AMBER ANZAC ASEAN AWOL BAFTA BASIC BIOS BRICS CAD CAM CAPTCHA CERN CMOS COBOL COBRA COVID CRISPR CRUD DARPA
DINK DRAM EFTA EPCOT EULA FAFSA FEMA FIFA FIFO FOMO FORTRAN GAAP GATT GIF HIPAA HUAC HUD IKEA IMAX INTERPOL ISIS JPEG
JSON LAN LASER LEGO LIDAR LIFO MENSA MERS MIDI MOMA MOOC MOSFET NAFTA NAND NASA NASCAR NASDAQ NATO NICE NIKE NIMBY
NOAA NORAD OPEC OSHA OXFAM PETA PIN POTUS RADAR RAID RAM REST ROM SALT SARS SAS SCOTUS SCUBA SIDS SIM SNAFU SOAP SONAR
SRAM SWAT SWIFT TED TOEFL UEFA UNESCO UNICEF UNIX VIN VOIP VRAM WAN WASP WIFI YAML YOLO ZIP
""")
"""Capitals that are read as a word; the evidence is Merriam-Webster's entry or the organisation's own usage."""

INITIALISMS = _words("""
AA AAA ABA ABC ABS AC ACLU ACM AD ADHD ADSL AFC AFK AFL AI AIG AKA ALS AM AMA AMC AMD AOL AP APA API APO APR ASA ASAP
ASMR ASU ATA ATF ATM ATP ATV AV AWS BA BAE BBC BCE BIA BMI BOE BYOB BYU CA CAA CBA CBO CE CEO CFO CGI CIA CIO COD COO
CPA CPI CPU CSI CTA CTO CUNY DA DEA DEI DHL DIY DMV DNA DOA DOB DOE DOJ DPI DUI DVD DWI EA EC ECB ECG EDM EDT EEG EEOC
EFL EIN EKG ELO EMEA EMI EMR EMS EMT EP EPA EPS ER ERP ESA ESL ESP ESPN EST ET ETA ETC ETF EU EUR EV FAA FAO FAQ FBI
FDA FDIC FHA FIA FOIA FYI GAO GDP GED GI GIS GMO GPA GPU GUI HBO HDMI HIV HOA HR IAEA IATA IBAN IBM IBS IC ICBM ICC
ICU ID IDE IEEE IEP IFC ILO IMDB IMF IMO IO IOC IOT IOU IP IPA IPO IQ IRA IRC IRL IRS ISBN ISO ISP ISS IT ITV IUD IV
IVF JFK LA LAPD LCD LED LOL LPGA MA MBA MCU MIA MIT MLA MMA MOA MOT MRI MSRP MVP NAACP NBA NCAA NDA NEA NFC NGO NIH
NRA NSA NYU OAS OBE OCD OCR OECD OED OEM OJ OLED OMG ONS OPM OS OSS OTC PA PC PCOS PE PGA PI POC POV POW PR PSA PTA
PTO PUA RAC RAF RCA REI RIP RNA ROI RPI RSVP RTE SAE SAT SBA SEC SEO SOP SOS SQL SUNY SUV TA TEFL TSA UAE UAV UAW UCL
UCLA UDP UFC UFO UHF UI UK UN UNC UNHCR UPC UPS URL US USA USAF USB USC USD USDA USMC USPS USSR UTC UTI UV UX VA VAT
VIP VOA VOD WHO WTO WWE XML YA YOY YTD
""")
"""Capitals that look like a word and are read letter by letter. Where the CMU Pronouncing Dictionary has the word, its
phonemes are the names of the letters; the others are read so by their owners. `letters.say_capitals` reads capitals
that are in neither list."""

WHOLE = {
    "24/7": "twenty four seven",
    "911": "nine one one",
    "007": "double oh seven",
    "9/11": "nine eleven",
    "9-1-1": "nine one one",
    "n/a": "not applicable",
    "tcp/ip": "tee see pee eye pee",
    "phd": "pee aitch dee",
    "bsc": "bee ess see",
    "msc": "em ess see",
    "phds": "pee aitch dees",
    "vs": "versus",
    "etc": "et cetera",
    "ctrl": "control",
    "cmd": "command",
    "ios": "eye oh ess",
    "macos": "mac oh ess",
    "ebay": "ee bay",
    "linkedin": "linked in",
    "github": "git hub",
    "youtube": "you tube",
    "w/e": "weekend",
    "b/c": "because",
    "@": "at",
    "&": "and",
    "%": "percent",
    "g++": "jee plus plus",
    ".net": "dot net",
    "ok": "okay",
    "iphone": "eye phone",
    "ipad": "eye pad",
    "wi-fi": "why fye",
    "c#": "see sharp",
    "f#": "eff sharp",
    "c++": "see plus plus",
    "and/or": "and or",
    "w/": "with",
    "w/o": "without",
}
"""Tokens that are read like nothing else."""

NUMBERED = _words("""
War Part Chapter Act Volume Type Phase Level Section Title Book Mark Apollo Class Stage Bowl Factor Unit Article
Step Round Season Episode Version Grade Figure Table Appendix Vol Scene Verse Psalm Lesson Division Group Schedule
Annex Category Tier Zone Olympiad Elegy Symphony Sonata Mach Corinthians Kings Samuel Peter John Timothy Chronicles
Thessalonians Maccabees Rocky Rambo Saw Wars Fantasy Civilization Saturn Gemini Titan Pentium
""")
"""Roman numerals after these are numbers; after other names they are a ruler's."""

RULERS = _words("""
Elizabeth Charles James George Henry Mary Francis Napoleon Nicholas Alexander Peter Catherine William Richard Edward
Philip Louis Frederick Leopold Paul Ptolemy Otto Wilhelm Joseph Pius Benedict Leo Gregory Clement Innocent Justinian
Theodosius Constantine Darius Xerxes Cyrus Ramesses Seti Umberto Victor Emmanuel Selassie Baudouin Albert Christian
Harald Olaf Olav Carl Gustav Ivan Pedro Juan Carlos Felipe Alfonso Isabella Sancho Robert David Malcolm Kenneth
Stephen Ferdinand Maximilian Rudolf Antiochus Cleopatra Thutmose Amenhotep Alexios Basil Andronikos Murad Selim
Mehmed Suleiman Abbas Shapur Christina Anne Margaret Matilda Berenice Boniface Urban Adrian Sixtus Julius Callixtus
""")
"""After these names a single "I" is "the first" unless a verb of the first person follows."""

FIRST_PERSON = _words("""
am think thought know knew love like want wanted need needed believe guess hope mean feel felt see say said have had
would will can could should might must do did don't didn't can't won't wouldn't couldn't was were went met saw told
asked live lived use used remember wonder just really always never also still
""")
"""Follow the pronoun "I"."""

RULED = _words("was had said told died ruled reigned became did could would might met went saw asked lived")
"""Verbs that follow a ruler's numeral as well as the pronoun."""

MAGNITUDES = frozenset(("thousand", "million", "billion", "trillion"))

FUNCTION_WORDS = _words("""
The A An It He She They We I You This That These Those There Here In On At By For From With But And Or So If When While
Where What Who Why How His Her Its Our Your My Their Then Now Some Many Most All Each Every No Not After Before Both
Although Because Since As Is Are Was Were Do Does Did Can Could Will Would Should Please Yes Let Another One
""")
"""Begin a sentence rather than a name."""

SAYING = _words("said say says saying answered replied answer reply voted shouted whispered")
"""Before a "no" that is an answer."""

ADDRESS_PARTS = _words("Apt Suite Ste Unit Floor Room Building Bldg P.O Box NW NE SW SE North South East West")
"""Follow a street in an address."""

OPERATORS = {
    "+": "plus", "=": "equals", "*": "times", "×": "times", "x": "times", "÷": "divided by", "/": "divided by",
    "-": "minus", "<": "is less than", ">": "is greater than", "≈": "is about", "≤": "is at most",
    "≥": "is at least", "±": "plus or minus", "^": "to the power of", "≠": "is not equal to", "·": "times",
    "⋅": "times", "==": "equals", "!=": "is not equal to", "<=": "is at most", ">=": "is at least", "->": "to",
    "=>": "gives", "→": "to", "~": "is about", "**": "to the power of", "%": "percent",
}  # fmt: skip
"""Between two numbers or letters."""

SILENT = frozenset("*-/^<>~·")
"""Signs that are not read where they stand alone between words."""

COMPARISONS = {
    "<": "less than", ">": "more than", "≤": "at most", "≥": "at least", "<=": "at most", ">=": "at least",
    "~": "about", "≈": "about", "±": "plus or minus", "+-": "plus or minus",
    "+/-": "plus or minus", "=": "equals", "≠": "not equal to",
    "-": "minus", "+": "plus",
}  # fmt: skip
"""In front of a number."""

SYMBOLS = {
    "&": "and", "+": "plus", "=": "equals", "@": "at", "%": "percent", "‰": "per mille", "/": "slash", "×": "times",
    "÷": "divided by", "π": "pi", "≈": "about", "√": "square root of", "°": "degrees", "º": "degrees",
    "_": "underscore",
    "\\": "backslash", "~": "tilde", "^": "caret", "*": "star", "<": "less than", ">": "greater than",
    "≤": "at most", "≥": "at least", "±": "plus or minus", "≠": "is not equal to", "#": "hash", "|": "bar",
    "$": "dollar", "£": "pound", "€": "euro", "¥": "yen", "₹": "rupee", "¢": "cents", "§": "section", "¶": "paragraph",
    "©": "copyright", "®": "registered", "™": "trademark", "∞": "infinity", "→": "to", "←": "from", "∑": "sum of",
    "∫": "integral of", "∂": "partial", "∆": "delta", "∈": "in", "·": "times", "⋅": "times", "µ": "micro", "₩": "won",
    "₽": "rubles", "₿": "bitcoin", "₺": "lira", "№": "number", "‑": "", "′": "prime", "″": "double prime",
    "α": "alpha", "β": "beta", "γ": "gamma", "δ": "delta", "ε": "epsilon", "ζ": "zeta", "η": "eta", "θ": "theta",
    "ι": "iota", "κ": "kappa", "λ": "lambda", "μ": "mu", "ν": "nu", "ξ": "xi", "ρ": "rho", "σ": "sigma", "τ": "tau",
    "φ": "phi", "χ": "chi", "ψ": "psi", "ω": "omega", "Γ": "gamma", "Δ": "delta", "Θ": "theta", "Λ": "lambda",
    "Π": "pi", "Σ": "sigma", "Φ": "phi", "Ψ": "psi", "Ω": "omega",
}  # fmt: skip
"""Anywhere else."""

TRANSLITERATED = str.maketrans({
    "ł": "l", "Ł": "L", "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ß": "ss",
    "ẞ": "SS", "ð": "th", "Ð": "Th", "þ": "th", "Þ": "Th", "ı": "i", "ħ": "h", "ŧ": "t", "ŋ": "ng", "ĸ": "k", "ƒ": "f",
})  # fmt: skip
"""Latin letters that no accent can be taken from, in letters that the G2P reads."""

CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "US$": ("US dollar", "US dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "R$": ("Brazilian real", "Brazilian reais", "", ""),
    "NZ$": ("New Zealand dollar", "New Zealand dollars", "cent", "cents"),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"), "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yen", "yen", "", ""), "₹": ("rupee", "rupees", "paisa", "paise"), "¢": ("cent", "cents", "", ""),
    "₩": ("won", "won", "", ""), "₽": ("ruble", "rubles", "kopek", "kopeks"), "₺": ("lira", "lira", "", ""),
    "₿": ("bitcoin", "bitcoins", "", ""),
    "USD": ("US dollar", "US dollars", "cent", "cents"), "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("British pound", "British pounds", "penny", "pence"), "JPY": ("Japanese yen", "Japanese yen", "", ""),
    "CHF": ("Swiss franc", "Swiss francs", "", ""), "CAD": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "AUD": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "INR": ("Indian rupee", "Indian rupees", "", ""),
    "CNY": ("Chinese yuan", "Chinese yuan", "", ""), "SEK": ("Swedish krona", "Swedish kronor", "", ""),
    "NOK": ("Norwegian krone", "Norwegian kroner", "", ""), "DKK": ("Danish krone", "Danish kroner", "", ""),
    "PLN": ("Polish zloty", "Polish zlotys", "", ""), "BTC": ("bitcoin", "bitcoins", "", ""),
}  # fmt: skip
"""Sign or code: one, many, one hundredth, many hundredths ("" where none is used)."""

MULTIPLIERS = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million", "mln": "million",
    "MM": "million", "b": "billion", "B": "billion", "bn": "billion", "Bn": "billion", "bln": "billion",
    "t": "trillion", "T": "trillion", "tn": "trillion", "trn": "trillion",
}  # fmt: skip
"""Written after an amount of money."""

KEYS = _table("""
ctrl=control, control=control, alt=alt, del=delete, delete=delete, esc=escape, cmd=command, command=command, opt=option
option=option, shift=shift, tab=tab, enter=enter, return=return, win=windows, fn=function, pgup=page_up
pgdn=page_down, ins=insert, backspace=backspace, space=space, home=home, end=end, meta=meta, super=super, up=up
down=down, left=left, right=right, escape=escape, prtsc=print_screen
""")
"""Keys in chords such as Ctrl+Alt+Del."""

MODIFIERS = _words("ctrl control alt cmd command opt option shift win fn meta super")

EXTENSIONS = _table("""
json=jason, yaml=yaml, gif=gif, zip=zip, bin=bin, lock=lock, log=log, java=java, rust=rust, toml=toml, env=env
""")
"""File endings that are read as words though they are short; others by `letters`."""

COUNTED = _words("people men women children views of in more fewer")
"""Besides plurals, what may follow a magnitude: "5M people"."""

NOT_PLURAL = _words("is was has as us this does its plus versus less always across perhaps thus yes")
"""End in s and are no plurals."""

SCREENS = _words("videos tvs screens displays monitors cameras televisions movies")
"""What "4K" says about the resolution of."""

ELEMENTS = _words("""
H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr Rb Sr Y Zr Nb Mo Ag
Cd In Sn Sb Te I Xe Cs Ba W Pt Au Hg Pb Bi U Pu
""")
"""Symbols of the chemical elements that common formulas are made of."""
