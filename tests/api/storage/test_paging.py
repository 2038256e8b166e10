from __future__ import annotations

import pytest

from api.errors import APIError
from api.storage.ids import new_id
from api.storage.owned import find_owned, id_of, load_owned, owned
from api.storage.paging import PageQuery, page_body, page_of
from api.storage.tables.files import FileRow


def file_row(project_id: str, num_bytes: int = 0) -> FileRow:
    return FileRow(
        id=new_id("file"), project_id=project_id, created_at=1, num_bytes=num_bytes,
        filename="f\0\ud800", purpose="batch", status="processed", touched_at=1,
    )  # fmt: skip


async def fill(storage, num_rows, project_id="proj_a"):
    rows = [file_row(project_id, index) for index in range(num_rows)]
    async with storage.database.writing() as session:
        session.add_all(rows)
    return [row.id for row in rows]


async def page(storage, query, project_id="proj_a"):
    async with storage.database.reading() as session:
        select = owned(FileRow, project_id)
        return await page_of(session, select, id_of(FileRow), query, "file")


async def walk(storage, order, limit):
    seen, after = [], None
    while True:
        got = await page(storage, PageQuery(after=after, limit=limit, order=order))
        seen += [row.id for row in got.rows]
        if not got.has_more:
            return seen
        after = seen[-1]


async def test_walking_with_after_meets_every_row_once(storage):
    made = await fill(storage, 7)
    await fill(storage, 3, "proj_b")
    for limit in (1, 3, 7, 100):
        assert await walk(storage, "asc", limit) == made
        assert await walk(storage, "desc", limit) == made[::-1]


async def test_before_gives_the_rows_next_to_the_cursor_in_the_order_of_the_list(storage):
    made = await fill(storage, 6)
    got = await page(storage, PageQuery(before=made[4], limit=2, order="asc"))
    assert [row.id for row in got.rows] == made[2:4]
    assert got.has_more
    got = await page(storage, PageQuery(before=made[1], limit=9, order="desc"))
    assert [row.id for row in got.rows] == made[:1:-1]
    assert not got.has_more


async def test_after_and_before_together_are_the_rows_between(storage):
    made = await fill(storage, 6)
    got = await page(storage, PageQuery(after=made[1], before=made[4], order="asc"))
    assert [row.id for row in got.rows] == made[2:4]


async def test_a_cursor_works_when_its_row_is_gone(storage):
    made = await fill(storage, 4)
    async with storage.database.writing() as session:
        await session.delete(await load_owned(session, FileRow, "proj_a", made[1], "File"))
    got = await page(storage, PageQuery(after=made[1], order="asc"))
    assert [row.id for row in got.rows] == made[2:]


OF_ANOTHER_LIST = {
    "nothing": "",
    "no text": "a\0b",
    "too short": "file-x",
    "another kind": new_id("batch"),
    "capitals": new_id("file").upper(),
    "two kinds": "file-file-x",
}


@pytest.mark.parametrize("num_rows", [0, 1])
@pytest.mark.parametrize("cursor", OF_ANOTHER_LIST.values(), ids=OF_ANOTHER_LIST)
async def test_a_cursor_that_can_be_no_id_of_the_list_is_refused_by_name_also_in_an_empty_list(
    storage, num_rows, cursor
):
    await fill(storage, num_rows)
    for name in ("after", "before"):
        with pytest.raises(APIError) as failure:
            await page(storage, PageQuery(**{name: cursor}))
        assert (failure.value.status, failure.value.param) == (400, name)


async def test_a_list_says_its_first_and_last_id(storage):
    made = await fill(storage, 3)
    got = await page(storage, PageQuery(limit=2))
    body = page_body(got, lambda row: {"id": row.id})
    assert body == {
        "object": "list", "data": [{"id": made[2]}, {"id": made[1]}],
        "first_id": made[2], "last_id": made[1], "has_more": True,
    }  # fmt: skip


async def test_another_project_s_row_is_404_like_one_that_never_was(storage):
    made = await fill(storage, 1)
    async with storage.database.reading() as session:
        assert await find_owned(session, FileRow, "proj_a", made[0]) is not None
        for row_id in (made[0], new_id("file"), "\0", "x" * 500):
            with pytest.raises(APIError) as failure:
                await load_owned(session, FileRow, "proj_b", row_id, "File object")
            assert failure.value.status == 404


async def test_any_text_of_a_client_comes_back_as_it_was(storage):
    made = await fill(storage, 1)
    async with storage.database.reading() as session:
        row = await load_owned(session, FileRow, "proj_a", made[0], "File object")
    assert row.filename == "f\0\ud800"
