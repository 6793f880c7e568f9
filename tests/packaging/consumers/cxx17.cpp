// A consumer in C++17 with RAII of its own: errors become exceptions, futures are waited for from several threads, a lambda hears of the end.
#include <snakepit/snakepit.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace
{

template <auto Free> struct freed_by {
    template <class T> void operator()(T *object) const
    {
        static_cast<void>(Free(object));
    }
};
using host = std::unique_ptr<pit, freed_by<pit_close>>;
using value = std::unique_ptr<pit_value, freed_by<pit_value_free>>;
using future = std::unique_ptr<pit_future, freed_by<pit_future_free>>;
using failure = std::unique_ptr<pit_error, freed_by<pit_error_free>>;

void check(int rc, pit_error *raw)
{
    failure error(raw);
    if (rc != 0)
        throw std::runtime_error(pit_error_name(error.get()));
}

host open(const char *adapter)
{
    pit_options options = PIT_OPTIONS_INIT;
    options.adapter = adapter;
    options.workers = 2;
    pit *p = nullptr;
    pit_error *error = nullptr;
    const int rc = pit_open(&options, &p, &error);
    check(rc, error);
    return host(p);
}

template <class... Args> value call(pit *p, const char *command, const char *format, Args... args)
{
    pit_value *result = nullptr;
    pit_error *error = nullptr;
    const int rc = pit_callf(p, command, nullptr, &result, &error, format, args...);
    check(rc, error);
    return value(result);
}

std::vector<std::string> words(pit *p, const std::string &text)
{
    value list = call(p, "words", "[S]", text.data(), text.size());
    std::vector<std::string> found;
    for (std::size_t i = 0; i < pit_value_len(list.get()); i++)
        found.emplace_back(pit_value_str_or(pit_value_at(list.get(), i), "?"));
    return found;
}

int64_t submitted(pit *p, int n)
{
    value args(pit_pack("[i,i]", n, 1));
    pit_future *raw = nullptr;
    pit_error *error = nullptr;
    int rc = pit_submit(p, "add", args.get(), nullptr, &raw, &error);
    check(rc, error);
    future pending(raw);
    std::atomic<int> done{0};
    auto hear = [](pit_future *, void *user) { ++*static_cast<std::atomic<int> *>(user); };
    if (pit_future_on_done(pending.get(), hear, &done) != 0 || pit_future_wait(pending.get(), PIT_INFINITE) != 0)
        throw std::runtime_error("the future cannot be waited for");
    pit_value *result = nullptr;
    rc = pit_future_result(pending.get(), &result, &error);
    check(rc, error);
    value sum(result);
    int64_t got = 0;
    while (done == 0)
        std::this_thread::yield();
    return pit_value_get_int(sum.get(), &got) ? got : -1;
}

} // namespace

int main(int argc, char **argv)
try {
    if (argc != 2)
        return 2;
    host p = open(argv[1]);
    std::atomic<int> right{0};
    std::vector<std::thread> threads;
    for (int n = 0; n < 4; n++)
        threads.emplace_back([&p, &right, n] { right += submitted(p.get(), n) == n + 1; });
    for (auto &thread : threads)
        thread.join();
    std::string caught = "nothing";
    try {
        call(p.get(), "fail", "");
    } catch (const std::runtime_error &error) {
        caught = error.what();
    }
    std::cout << right << ' ' << words(p.get(), "a snake in a pit").size() << ' ' << caught << '\n';
    return 0;
} catch (const std::exception &error) {
    std::cerr << error.what() << '\n';
    return 1;
}
