"""The page's signal processing, run where it lives: in the browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from tests.page.engines import Browser

STATIC = Path(__file__).parents[2] / "static"
RATES = [(48_000, 16_000), (44_100, 16_000), (8_000, 16_000), (192_000, 16_000), (24_000, 44_100), (24_000, 48_000)]


@pytest.fixture(scope="module")
def page(silent_browser: Browser) -> Iterator[Page]:
    """A blank page that serves `static/` to itself: no server is needed."""
    page = silent_browser.new_page()
    page.route(
        "http://localhost/**",
        lambda route: (
            route.fulfill(path=STATIC / file)
            if (STATIC / (file := route.request.url.removeprefix("http://localhost/"))).is_file()
            else route.fulfill(body="<!doctype html>", content_type="text/html")
        ),
    )
    page.goto("http://localhost/blank")
    yield page
    page.close()


def resample(page: Page, samples: np.ndarray, rates: tuple[int, int], blocks: list[int]) -> np.ndarray:
    """Through the page's `Resampler`, in blocks of these sizes over and over, and flushed."""
    result: list[float] = page.evaluate(
        """async ([samples, from, to, blocks]) => {
          const { Resampler } = await import('/audio/resampler.js');
          const resampler = new Resampler(from, to);
          const input = Float32Array.from(samples);
          const output = [];
          for (let at = 0, turn = 0; at < input.length; turn += 1) {
            const size = blocks[turn % blocks.length];
            output.push(...resampler.process(input.subarray(at, at + size)));
            at += size;
          }
          return [...output, ...resampler.flush()];
        }""",
        [samples.tolist(), *rates, blocks],
    )
    return np.array(result)


def tone(frequency: float, rate: int, seconds: float = 0.25) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


@pytest.mark.parametrize("rates", RATES, ids=lambda rates: f"{rates[0]}-{rates[1]}")
def test_a_tone_keeps_its_pitch_its_level_and_its_place(page: Page, rates: tuple[int, int]) -> None:
    output = resample(page, tone(1000, rates[0]), rates, [128])
    wanted = tone(1000, rates[1])
    inside = slice(len(wanted) // 5, -len(wanted) // 5)
    assert len(output) >= len(wanted) - 1
    assert np.abs(output[: len(wanted)][inside] - wanted[inside]).max() < 1e-3


@pytest.mark.parametrize("frequency", [8600, 10_000, 15_000, 23_000])
def test_what_would_alias_is_cut_by_70_db(page: Page, frequency: int) -> None:
    output = resample(page, tone(frequency, 48_000), (48_000, 16_000), [128])
    inside = output[len(output) // 5 : -len(output) // 5]
    assert np.sqrt(np.mean(inside**2)) < 0.5 / np.sqrt(2) * 10 ** (-70 / 20)


@pytest.mark.parametrize("rates", RATES, ids=lambda rates: f"{rates[0]}-{rates[1]}")
def test_however_it_is_cut_the_output_is_the_same(page: Page, rates: tuple[int, int]) -> None:
    samples = np.random.default_rng(0).normal(0, 0.2, 6000)
    whole = resample(page, samples, rates, [len(samples)])
    for blocks in ([128], [1, 500, 7], [3]):
        np.testing.assert_array_equal(resample(page, samples, rates, blocks), whole)


def buffer(page: Page, samples: np.ndarray, script: list[list[Any]]) -> dict[str, Any]:
    """Drive the page's `JitterBuffer` at 48 kHz, by steps such as ['push', samples], ['read', blocks] or ['end']."""
    result: dict[str, Any] = page.evaluate(
        """async ([samples, script]) => {
          const { JitterBuffer } = await import('/audio/jitter-buffer.js');
          const buffer = new JitterBuffer(48000);
          const input = Float32Array.from(samples);
          const output = [];
          const news = [];
          let at = 0;
          const block = new Float32Array(128);
          for (const [step, count] of script) {
            if (step === 'push') { buffer.push(input.subarray(at, at + count)); at += count; }
            else if (step === 'read') for (let i = 0; i < count; i += 1) {
              const happened = buffer.read(block);
              if (happened) news.push(happened);
              output.push(...block);
            } else buffer[step]();
          }
          return { output, news, position: buffer.position, busy: buffer.busy, lead: buffer.lead };
        }""",
        [samples.tolist(), script],
    )
    result["output"] = np.array(result["output"])
    return result


SOUND = tone(220, 48_000, 1.0)
STEEPEST = np.abs(np.diff(SOUND)).max()
BLOCKS = len(SOUND) // 128 + 20


def test_an_answer_that_is_all_there_is_played_as_it_is(page: Page) -> None:
    got = buffer(page, SOUND, [["begin"], ["push", len(SOUND)], ["end"], ["read", BLOCKS]])
    assert got["news"] == ["started", "finished"]
    assert got["position"] == len(SOUND)
    np.testing.assert_allclose(got["output"][400 : len(SOUND) - 400], SOUND[400:-400], atol=1e-6)
    assert not got["output"][len(SOUND) :].any()


def test_nothing_sounds_before_there_is_a_little_store(page: Page) -> None:
    got = buffer(page, SOUND, [["begin"], ["push", 3000], ["read", 10]])
    assert got["news"] == []
    assert not got["output"].any()


STARVING = [["begin"], ["push", 9600], ["read", 200], ["push", len(SOUND) - 9600], ["end"], ["read", BLOCKS]]


def test_running_short_goes_on_from_the_next_sample_without_a_click(page: Page) -> None:
    got = buffer(page, SOUND, STARVING)
    assert got["news"] == ["started", "starved", "finished"]
    assert got["position"] == len(SOUND)
    assert np.abs(np.diff(got["output"])).max() < STEEPEST + 0.02, "no click where it stopped or went on"
    after = got["output"][200 * 128 :]
    np.testing.assert_allclose(after[400:4000], SOUND[9600 + 400 : 9600 + 4000], atol=1e-6)


def test_a_hole_is_bridged_by_the_pitch_and_fades(page: Page) -> None:
    got = buffer(page, SOUND, STARVING)["output"][9600 : 200 * 128]
    loudness = [np.sqrt(np.mean(got[at : at + 436] ** 2)) for at in range(0, 4 * 436, 436)]  # a 220 Hz period each 218
    assert loudness[0] > 0.9 * 0.5 / np.sqrt(2), "the first 9 ms are as loud as before"
    correlation = np.corrcoef(got[:480], SOUND[9600 : 9600 + 480])[0, 1]
    assert correlation > 0.95, "and sound as if it had gone on"
    assert loudness[1] > loudness[2] > loudness[3], "then it fades"
    assert not got[2880 + 1 :].any(), "after 60 ms it is silent"


def test_a_hole_in_noise_is_no_buzz_and_no_click(page: Page) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 24_000)
    got = buffer(page, noise, [["begin"], ["push", 9600], ["read", 200], ["push", 14_400], ["end"], ["read", 150]])
    hole = got["output"][9600 : 9600 + 2880]
    assert 0.03 < np.sqrt(np.mean(hole[:480] ** 2)) < 0.13
    assert np.abs(hole).max() < 0.6


def test_the_lead_follows_the_line(page: Page) -> None:
    """A line that stalls 133 ms makes the lead longer by as much; calm undoes it."""
    stalled = [["push", 9600], ["read", 125], ["push", 14_400], ["end"], ["read", 200]]  # 75 blocks, then 50 without
    first = buffer(page, SOUND, [["begin"], *stalled])
    assert first["news"].count("starved") == 1
    assert first["lead"] == pytest.approx(3840 + 50 * 128, abs=256)
    again = buffer(page, np.tile(SOUND, 2), [["begin"], *stalled, ["begin"], *stalled])
    assert again["news"].count("starved") == 1, "9600 samples are not enough to begin with a lead of 10240"
    steady = [["begin"], ["push", 4800], ["end"], ["read", 60]] * 6
    calm = buffer(page, np.tile(SOUND, 2), [["begin"], *stalled, *steady])
    assert calm["lead"] < 0.5 * first["lead"]


def test_a_flush_fades_within_10_ms_and_forgets_the_rest(page: Page) -> None:
    got = buffer(page, SOUND, [["begin"], ["push", len(SOUND)], ["read", 100], ["flush"], ["read", 50]])
    after = got["output"][12_800:]
    assert np.abs(np.diff(got["output"])).max() < STEEPEST + 0.02
    assert after[:100].any()
    assert not after[480:].any()
    assert not got["busy"]


def test_a_new_answer_begins_while_the_old_one_fades(page: Page) -> None:
    script = [["begin"], ["push", 24_000], ["read", 50], ["begin"], ["push", 24_000], ["end"], ["read", 300]]
    got = buffer(page, SOUND, script)
    assert got["news"] == ["started", "started", "finished"]
    assert got["position"] == 24_000
    np.testing.assert_allclose(got["output"][6400 + 400 : 6400 + 20_000], SOUND[24_400 : 24_000 + 20_000], atol=1e-6)


def test_a_very_short_answer_is_spoken(page: Page) -> None:
    got = buffer(page, SOUND, [["begin"], ["push", 1000], ["end"], ["read", 20]])
    assert got["news"] == ["started", "finished"]
    assert np.abs(got["output"]).max() > 0.3
    assert got["position"] == 1000
