"""The visual Turing test: readers rate real and synthetic studies from 1 to 5 on a local web page.

`tasks` (the five tasks) -> `sources` (real and generated values) -> `study` (`medcodi turing make`:
chooses and encodes the items) -> `server` (`medcodi serve turing`), which keeps ratings in `store`
-> `report` (`medcodi turing report`).

    STUDY/study.json       what the page shows: tasks, items, texts; nothing that says which item is
    synthetic
    STUDY/items/           the images, all of one size in pixels and in bytes
    STUDY/ratings.sqlite   readers and ratings
    STUDY/truth.json       which item is synthetic; read by the report only
"""
