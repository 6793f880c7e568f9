/* The texts of the files that snakepit gen adapter writes. They are what a person would begin with: short, whole, and tested by the test among them. */
#include "gen.h"

static const char text_init[] = "\"\"\"The adapter @NAME@: what C programs call by names.\"\"\"\n";

static const char text_handlers[] =
    "\"\"\"The work itself. It knows nothing of Snakepit, so it can be tested and used without.\"\"\"\n";

static const char text_greetings[] =
    "\"\"\"Greetings: replace this by what the adapter is for.\"\"\"\n"
    "\n"
    "from __future__ import annotations\n"
    "\n"
    "GREETINGS = {\"en\": \"Hello\", \"fr\": \"Bonjour\"}\n"
    "\n"
    "\n"
    "def greeting(name: str, language: str = \"en\") -> str:\n"
    "    \"\"\"A greeting in the language.\"\"\"\n"
    "    if language not in GREETINGS:\n"
    "        raise ValueError(f\"language is one of {', '.join(GREETINGS)}, not {language!r}\")\n"
    "    return f\"{GREETINGS[language]}, {name}\"\n";

static const char text_adapter[] =
    "\"\"\"The class whose tools C programs call.\"\"\"\n"
    "\n"
    "from __future__ import annotations\n"
    "\n"
    "from snakepit_bridge import BaseAdapter, tool\n"
    "\n"
    "from .handlers import greetings\n"
    "\n"
    "\n"
    "class @CLASS@(BaseAdapter):\n"
    "    \"\"\"Each method with @tool is a command.\"\"\"\n"
    "\n"
    "    def initialize(self) -> None:\n"
    "        \"\"\"Once, before the first call: load the model, open the connection. Plain or async.\"\"\"\n"
    "        self.greeted = 0\n"
    "\n"
    "    def cleanup(self) -> None:\n"
    "        \"\"\"Once, when the worker is asked to end.\"\"\"\n"
    "\n"
    "    @tool\n"
    "    def greet(self, name: str, language: str = \"en\") -> str:\n"
    "        \"\"\"Greets somebody.\"\"\"\n"
    "        self.greeted += 1\n"
    "        return greetings.greeting(name, language)\n"
    "\n"
    "    @tool(idempotent=True)\n"
    "    def stats(self) -> dict:\n"
    "        \"\"\"How many have been greeted.\"\"\"\n"
    "        return {\"greeted\": self.greeted}\n";

static const char text_threaded[] =
    "\"\"\"The class whose tools C programs call, several at a time.\"\"\"\n"
    "\n"
    "from __future__ import annotations\n"
    "\n"
    "from snakepit_bridge import ThreadSafeAdapter, thread_safe_method, tool\n"
    "\n"
    "from .handlers import greetings\n"
    "\n"
    "\n"
    "class @CLASS@(ThreadSafeAdapter):\n"
    "    \"\"\"Each method with @tool is a command. What they share stands under the lock.\"\"\"\n"
    "\n"
    "    def initialize(self) -> None:\n"
    "        \"\"\"Once, before the first call: load the model, open the connection. Plain or async.\"\"\"\n"
    "        self.greeted = 0\n"
    "\n"
    "    def cleanup(self) -> None:\n"
    "        \"\"\"Once, when the worker is asked to end.\"\"\"\n"
    "\n"
    "    @tool\n"
    "    @thread_safe_method\n"
    "    def greet(self, name: str, language: str = \"en\") -> str:\n"
    "        \"\"\"Greets somebody.\"\"\"\n"
    "        with self.track_request(\"greet\"):\n"
    "            with self.acquire_lock():\n"
    "                self.greeted += 1\n"
    "            return greetings.greeting(name, language)\n"
    "\n"
    "    @tool(idempotent=True)\n"
    "    @thread_safe_method\n"
    "    def stats(self) -> dict:\n"
    "        \"\"\"How many have been greeted, and what ran at a time.\"\"\"\n"
    "        with self.acquire_lock():\n"
    "            return {\"greeted\": self.greeted, **self.get_stats()}\n";

/* What both tests look at. */
#define TEST_CLASS                                                                                                             \
    "class @CLASS@Test(unittest.TestCase):\n"                                                                                  \
    "    def setUp(self) -> None:\n"                                                                                           \
    "        self.adapter = @CLASS@()\n"                                                                                       \
    "        self.adapter.initialize()\n"                                                                                      \
    "        self.addCleanup(self.adapter.cleanup)\n"                                                                          \
    "\n"                                                                                                                       \
    "    def test_tools_are_described(self) -> None:\n"                                                                        \
    "        tools = {tool[\"name\"]: tool for tool in self.adapter.get_tools()}\n"                                            \
    "        self.assertEqual(set(tools), {\"greet\", \"stats\"})\n"                                                           \
    "        self.assertEqual([p[\"name\"] for p in tools[\"greet\"][\"parameters\"]], [\"name\", \"language\"])\n"            \
    "\n"                                                                                                                       \
    "    def test_greet(self) -> None:\n"                                                                                      \
    "        self.assertEqual(self.adapter.call_tool(\"greet\", \"World\"), \"Hello, World\")\n"                               \
    "        self.assertEqual(self.adapter.call_tool(\"greet\", name=\"Ann\", language=\"fr\"), \"Bonjour, Ann\")\n"           \
    "        self.assertEqual(self.adapter.call_tool(\"stats\")[\"greeted\"], 2)\n"                                            \
    "\n"                                                                                                                       \
    "    def test_what_is_wrong(self) -> None:\n"                                                                              \
    "        with self.assertRaisesRegex(ValueError, \"language is one of\"):\n"                                               \
    "            self.adapter.call_tool(\"greet\", \"Ann\", \"xx\")\n"                                                         \
    "        with self.assertRaisesRegex(TypeError, \"name\"):\n"                                                              \
    "            self.adapter.call_tool(\"greet\")\n"

static const char text_test[] = "\"\"\"Tests of the adapter, without a host: python -m unittest @NAME@.test_adapter\"\"\"\n"
                                "\n"
                                "import unittest\n"
                                "\n"
                                "from .adapter import @CLASS@\n"
                                "\n"
                                "\n" TEST_CLASS "\n"
                                "\n"
                                "if __name__ == \"__main__\":\n"
                                "    unittest.main()\n";

static const char text_threaded_test[] =
    "\"\"\"Tests of the adapter, without a host: python -m unittest @NAME@.test_adapter\"\"\"\n"
    "\n"
    "import threading\n"
    "import unittest\n"
    "\n"
    "from .adapter import @CLASS@\n"
    "\n"
    "\n" TEST_CLASS "\n"
    "    def test_several_at_a_time(self) -> None:\n"
    "        threads = [threading.Thread(target=self.adapter.call_tool, args=(\"greet\", \"all\")) for _ in range(8)]\n"
    "        for thread in threads:\n"
    "            thread.start()\n"
    "        for thread in threads:\n"
    "            thread.join()\n"
    "        self.assertEqual(self.adapter.call_tool(\"stats\")[\"greeted\"], 8)\n"
    "\n"
    "\n"
    "if __name__ == \"__main__\":\n"
    "    unittest.main()\n";

const struct gen_file gen_adapter_files[GEN_FILES] = {
    {"@NAME@/__init__.py", text_init},
    {"@NAME@/adapter.py", text_adapter},
    {"@NAME@/handlers/__init__.py", text_handlers},
    {"@NAME@/handlers/greetings.py", text_greetings},
    {"@NAME@/test_adapter.py", text_test},
};

const struct gen_file gen_threaded_files[GEN_FILES] = {
    {"@NAME@/__init__.py", text_init},
    {"@NAME@/adapter.py", text_threaded},
    {"@NAME@/handlers/__init__.py", text_handlers},
    {"@NAME@/handlers/greetings.py", text_greetings},
    {"@NAME@/test_adapter.py", text_threaded_test},
};
