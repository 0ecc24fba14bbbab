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
""")
"""Stand before a name: their full stop never ends a sentence."""

ABBREVIATIONS = _table("""
vs=versus, approx=approximately, dept=department, est=established, max=maximum, min=minimum, temp=temperature
misc=miscellaneous, govt=government, assn=association
""")
"""Written with a full stop that never ends a sentence."""

LAST_WORDS = _table("""
etc=et_cetera, inc=Incorporated, ltd=Limited, corp=Corporation, co=Company, ave=Avenue, blvd=Boulevard, rd=Road
jr=Junior, sr=Senior, tbsp=tablespoons, tsp=teaspoons
""")
"""Written with a full stop that may end a sentence, too."""

DOTTED = {"e.g": "for example", "i.e": "that is", "ph.d": "pee aitch dee"}

MONTHS = _table("""
jan=January, feb=February, mar=March, apr=April, may=May, jun=June, jul=July, aug=August, sep=September
sept=September, oct=October, nov=November, dec=December
""")
MONTH_NAMES = tuple(dict.fromkeys(MONTHS.values()))

UNITS = _table("""
km=kilometer, m=meter, cm=centimeter, mm=millimeter, mi=mile, ft=foot, yd=yard, kg=kilogram, g=gram, mg=milligram
lb=pound, lbs=pound, oz=ounce, l=liter, ml=milliliter, mph=mile_per_hour, kph=kilometer_per_hour, h=hour, hr=hour
hrs=hour, min=minute, mins=minute, sec=second, secs=second, s=second, ms=millisecond, kb=kilobyte, mb=megabyte
gb=gigabyte, tb=terabyte, kw=kilowatt, kwh=kilowatt_hour, w=watt, v=volt, hz=hertz, khz=kilohertz, mhz=megahertz
ghz=gigahertz, cal=calorie, kcal=kilocalorie, tbsp=tablespoon, tsp=teaspoon, kj=kilojoule, pt=pint, gal=gallon
""")
"""After a number, of one."""

PLURALS = {
    "foot": "feet",
    "hertz": "hertz",
    "kilohertz": "kilohertz",
    "megahertz": "megahertz",
    "gigahertz": "gigahertz",
}

ACRONYMS = _words("""
NASA NATO UNESCO UNICEF OPEC NASDAQ AIDS COVID PIN SIM RAM ROM LASER RADAR SCUBA GIF JPEG SWAT FEMA NAFTA
LEGO IKEA NIKE FIFA NOAA PETA SONAR WIFI ZIP
""")
"""Capitals that are read as a word."""

INITIALISMS = _words("""
USA US UK EU UN UAE USSR AI API ATM BBC ABC CBS CEO CFO CTO CIA FBI IRS FDA EPA NBA NCAA DNA RNA GPA GPU CPU IQ UV
IT UFO USB UI UX VIP DIY ETA FAQ IBM MIT UCLA LA AC DC MRI HIV ICU ER EKG ECG SUV URL IP OS EV ISS ADHD OCD
BA MA PE IPA IPO AOL AA AAA ESPN IMDB EMT APA AMA ACLU UPS IOU BMI AKA SOS RSVP
""")
"""Capitals with a vowel among them that are read letter by letter; those without one always are."""

WHOLE = {
    "24/7": "twenty four seven",
    "911": "nine one one",
    "007": "double oh seven",
    "phd": "pee aitch dee",
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
Step Round Season Episode Version Grade
""")
"""Roman numerals after these are numbers; after other names they are a ruler's."""

MAGNITUDES = frozenset(("thousand", "million", "billion", "trillion"))

FUNCTION_WORDS = _words("The A An It He She They We I You This That These Those There In On At But And")
"""Begin a sentence rather than a saint's name."""

OPERATORS = {
    "+": "plus", "=": "equals", "*": "times", "×": "times", "x": "times", "÷": "divided by", "/": "divided by",
    "-": "minus", "<": "is less than", ">": "is greater than", "≈": "is about", "≤": "is at most",
    "≥": "is at least", "±": "plus or minus", "^": "to the power of", "≠": "is not equal to",
}  # fmt: skip
"""Between two numbers or letters, with space around them."""

SILENT = frozenset("*-/^<>")
"""Signs that are not read where they stand alone between words."""

SYMBOLS = {
    "&": " and ", "+": " plus ", "=": " equals ", "@": " at ", "%": " percent ", "/": " ", "²": " squared ",
    "³": " cubed ", "½": " one half ", "¼": " one quarter ", "¾": " three quarters ", "×": " times ", "π": " pi ",
    "≈": " about ", "√": " square root of ", "°": " degrees ",
}  # fmt: skip
"""Anywhere else."""
