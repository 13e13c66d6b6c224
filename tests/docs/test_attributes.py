from docs.attributes import PAGE, SOURCE, page


def test_the_page_is_made_from_the_module_as_it_is() -> None:
    assert page(SOURCE.read_text()) == PAGE.read_text(), "run `make docs`"
